"""Order of the suite, and which tests share a worker."""

from dataclasses import replace

import pytest

SHARED_BY = {
    "backends/cad_3d": "cad",
    "tasks/test_shipped_cad": "cad",
    "backends/embedded": "embedded",
    "tasks/test_embedded": "embedded",
    "backends/gpu_optimization": "gpu",
    "tasks/test_gpu": "gpu",
    "backends/code_optimization": "code",
    "backends/general": "python",
    "tasks/test_human_eval": "python",
    "backends/test_": "rtl",
    "tasks/test_importers": "rtl",
    "tasks/test_verilog_eval": "rtl",
}
"""Beginning of a test's path under `tests/` to its group: one worker starts the tools and runs the tasks for it."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in a hook of its own
def pytest_collection_modifyitems(items):
    # Real training runs take longest and start first, so that both workers end together.
    items.sort(key=lambda item: "tests/train" not in item.nodeid)
    for item in items:
        place = item.nodeid.removeprefix("tests/")
        for beginning, group in SHARED_BY.items():
            if place.startswith(beginning) and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def thinned():
    """Tasks of which only every third keeps its wrong candidates; a drill runs those of all (`test_verify.py`)."""

    def thin(tasks):
        return {
            name: task if number % 3 == 0 else replace(task, wrong=())
            for number, (name, task) in enumerate(tasks.items())
        }

    return thin
