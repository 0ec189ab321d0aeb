"""The whole way from a source and a driver to a finished file; what the engines share lives here."""
