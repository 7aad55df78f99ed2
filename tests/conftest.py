"""Order of the suite: real training runs take longest and start first, so that both workers end together."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: "tests/train" not in item.nodeid)
