"""The public names: they exist, they are documented, and asking for one imports only its home."""

import importlib
import inspect
import subprocess
import sys

import pytest

import burnish


def test_the_public_names_are_exactly_these():
    assert sorted(burnish.__all__) == [
        "AsyncClient",
        "AsyncJob",
        "BurnishError",
        "Client",
        "CreateOptions",
        "Job",
        "JobOutcome",
        "JobPoller",
        "JobSnapshot",
        "OptimizeOptions",
        "OptimizeResult",
        "PollOutcome",
        "Prompt",
        "PromptLearningClient",
        "PromptLearningJob",
        "PromptLearningJobConfig",
        "PromptLearningJobPoller",
        "PromptResults",
        "Suite",
        "SuiteOptions",
        "__version__",
        "optimize",
        "optimize_async",
        "write_artefacts",
    ]


@pytest.mark.parametrize("name", [name for name in burnish.__all__ if name != "__version__"])
def test_a_public_name_is_there_and_documented(name):
    value = getattr(burnish, name)
    assert inspect.getdoc(value)
    assert callable(value)


def test_no_public_name_is_hidden_by_a_module_of_the_same_name():
    for name in burnish.__all__:
        with pytest.raises(ImportError):
            importlib.import_module(f"burnish.{name}")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute `Nothing`"):
        burnish.Nothing  # noqa: B018 # type: ignore[attr-defined]


def test_importing_burnish_alone_imports_neither_grpc_nor_pydantic():
    script = "import sys, burnish; print([m for m in ('grpc', 'pydantic') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert out.stdout.strip() == "[]"


def test_the_command_line_starts_without_grpc():
    script = "import sys, burnish.cli; print('grpc' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert out.stdout.strip() == "False"
