from tests.tiny.installed import tiny, tiny_here  # noqa: F401
