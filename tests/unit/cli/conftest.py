"""A clean environment, a scripted controller and a valid job file, for every test here."""

import os

import pytest

from burnish.testing.fake_jobs import TOKEN, FakeController

CONFIG = """
[job]
task_app = "http://127.0.0.1:9"
results_folder = "out"
model = { provider = "local", model = "local-reader" }

[job.pools]
bootstrap = { start = 0, end = 10 }
online = { start = 10, end = 30 }
validation = { start = 30, end = 40 }
test = { start = 40, end = 60 }
reference = { start = 60, end = 70 }
"""


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("BURNISH_", "SYNTH_", "BACKEND_", "ENVIRONMENT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("BURNISH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def controller(monkeypatch):
    with FakeController() as started:
        monkeypatch.setenv("BURNISH_TARGET", started.target)
        monkeypatch.setenv("BURNISH_AUTH_TOKEN", TOKEN)
        yield started


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(CONFIG)
    return str(path)
