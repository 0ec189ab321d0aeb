"""Programs that build the models shipped with the package, and rendered people to train and test on."""
