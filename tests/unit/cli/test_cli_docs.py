"""The page on the command line names every command and every exit code."""

from pathlib import Path

from typer.main import get_command

from burnish.cli import app, output

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text()


def test_every_command_is_on_the_page():
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"`burnish {name}" in PAGE
        for verb in getattr(command, "commands", {}):
            assert verb in PAGE.split(f"`burnish {name}")[1].split("`")[0]


def test_every_exit_code_is_on_the_page():
    codes = (
        output.OK,
        output.FAILED,
        output.USAGE,
        output.GATE_FAILED,
        output.BUDGET_EXHAUSTED,
        output.UNREACHABLE,
        output.INTERRUPTED,
    )
    for code in codes:
        assert f"| {code} |" in PAGE
