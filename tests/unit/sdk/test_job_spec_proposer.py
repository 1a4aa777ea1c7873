"""How a file says who writes instructions, and what of it reaches the job."""

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.config import ConfigError, PromptLearningConfig, resolve_job
from burnish.job_spec import to_job_spec

SPEC = {
    "metadata": {"id": "spec.desk", "title": "Desk", "version": "1.0.0", "scope": "mail"},
    "rules": [
        {
            "id": "R-1",
            "title": "Dates",
            "priority": 9,
            "constraints": {"should": ["name a day"]},
            "examples": [{"kind": "good", "prompt": "when?", "response": "Monday"}],
        },
        {"id": "R-2", "title": "Tone", "priority": 2, "constraints": {"must": ["be kind"]}},
    ],
}
WHOLE = "version: 1\n=== user\n{{current_instruction}} {{variant}}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    (tmp_path / "manual.md").write_text("Parcels take three days.")
    (tmp_path / "faq.txt").write_text("Refunds take five.")
    return tmp_path


def section(**mipro: Any) -> dict[str, Any]:
    pools = {
        "bootstrap_train_seeds": {"start": 0, "end": 20},
        "online_pool": {"start": 20, "end": 60},
        "test_pool": {"start": 60, "end": 90},
        "val_seeds": {"start": 90, "end": 120},
        "reference_pool": {"start": 120, "end": 150},
    }
    return {
        "prompt_learning": {
            "algorithm": "mipro",
            "task_app_url": "http://127.0.0.1:1",
            "task_app_api_key": "k",
            "env_name": "desk",
            "policy": {"provider": "local", "model": "local-reader"},
            "mipro": pools | mipro,
        }
    }


def native(**proposer: Any) -> dict[str, Any]:
    return {
        "job": {
            "task_app": "http://127.0.0.1:1",
            "model": {"provider": "local", "model": "local-reader"},
            "pools": {
                "bootstrap": {"start": 0, "end": 20},
                "online": {"start": 20, "end": 60},
                "validation": {"start": 90, "end": 120},
                "test": {"start": 60, "end": 90},
            },
            "proposer": proposer,
        }
    }


def proposer_of(mapping: dict[str, Any], folder: Path):
    config = PromptLearningConfig.from_mapping(mapping, env={}, base_dir=folder)
    return to_job_spec(resolve_job(config, dataset_size=200)).proposer


def problems(mapping: dict[str, Any], folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        proposer_of(mapping, folder)
    return caught.value.message


def test_a_spec_reaches_the_job_as_text_with_its_should_rules(folder):
    text = proposer_of(section(spec_path="spec.json"), folder).specification
    assert "- Should: name a day" in text
    assert "Good example" in text
    assert text.index("Dates") < text.index("Tone")


def test_a_spec_is_cut_by_priority_examples_and_tokens(folder):
    given = {"spec_path": "spec.json", "spec_priority_threshold": 5}
    text = proposer_of(section(**given, spec_include_examples=False), folder).specification
    assert "Tone" not in text
    assert "example" not in text
    tiny = proposer_of(section(spec_path="spec.json", spec_max_tokens=10), folder).specification
    assert 0 < len(tiny.encode()) <= 40


def test_a_strict_spec_tells_every_oddity_at_once(folder):
    proposer_of(section(spec_path="spec.json"), folder)
    told = problems(section(spec_path="spec.json", spec_strict=True), folder)
    assert "rules[0].constraints" in told
    assert "rules[1].examples" in told


def test_reference_files_reach_the_job_in_order(folder):
    found = proposer_of(section(reference_files=["manual.md", "faq.txt"]), folder)
    assert list(found.reference_texts) == ["Parcels take three days.", "Refunds take five."]


def test_every_reference_file_that_cannot_be_read_is_told(folder):
    (folder / "picture.png").write_bytes(b"\xff\xfe\x00")
    told = problems(section(reference_files=["none.md", "picture.png", "faq.txt"]), folder)
    assert "reference_files[0]" in told
    assert "reference_files[1]" in told
    assert "reference_files[2]" not in told


def test_a_metaprompt_is_added_and_a_whole_one_takes_the_place_of_ours(folder):
    added = proposer_of(section(metaprompt="Be brief."), folder)
    assert (added.guidance, added.meta_prompt) == ("Be brief.", "")
    whole = proposer_of(section(metaprompt=WHOLE), folder)
    assert (whole.guidance, whole.meta_prompt) == ("", WHOLE)


def test_meta_update_reaches_the_job_whole(folder):
    update = proposer_of(
        section(
            num_iterations=10,
            meta_update={
                "enabled": True,
                "every_iterations": 3,
                "topk_success": 4,
                "topk_failure": 5,
                "validate_on_batch": 16,
                "keep_k": 8,
                "dedup_token_overlap": 0.8,
                "regen_temperature_decay": 0.9,
            },
        ),
        folder,
    ).meta_update
    assert (update.success_count, update.failure_count) == (4, 5)
    assert (update.screen_row_count, update.max_kept_count) == (16, 8)
    assert (update.duplicate_overlap, update.temperature_decay) == (0.8, 0.9)


@pytest.mark.parametrize("mipro", [{}, {"meta_update": {"enabled": False, "keep_k": 3}}])
def test_without_meta_update_later_rounds_go_as_the_first(folder, mipro):
    assert not proposer_of(section(**mipro), folder).HasField("meta_update")


def test_what_duplicates_are_is_left_to_the_proposer_unless_it_is_said(folder):
    update = proposer_of(section(meta_update={"every_iterations": 2}), folder).meta_update
    assert not update.HasField("duplicate_overlap")


def test_rounds_and_their_sizes_reach_the_job(folder):
    found = proposer_of(
        section(
            num_iterations=9,
            generate_at_iterations=[2, 4],
            instructions_per_batch=3,
            max_instructions=5,
            duplicate_retry_limit=7,
        ),
        folder,
    )
    assert found.later_rounds_only
    assert (found.instruction_count, found.max_instruction_count) == (3, 5)
    assert found.retry_limit == 7
    assert not proposer_of(section(), folder).later_rounds_only


def test_grounding_says_how_many_how_long_and_how_warm(folder):
    found = proposer_of(section(grounding={"n": 6, "temperature": 0.7, "max_tokens": 600}), folder)
    assert found.instruction_count == 6
    assert found.temperature == pytest.approx(0.7)
    assert found.max_instruction_tokens == 600
    both = proposer_of(section(grounding={"n": 6}, instructions_per_batch=2), folder)
    assert both.instruction_count == 2


def test_a_proposer_of_the_users_own_is_named_in_either_form(folder):
    assert proposer_of(section(proposer={"plugin": "mine"}), folder).proposer == "mine"
    assert proposer_of(native(plugin="mine"), folder).proposer == "mine"
    assert proposer_of(native(), folder).proposer == ""


def test_our_own_form_has_the_same_keys(folder):
    found = proposer_of(
        native(spec_path="spec.json", reference_files=["faq.txt"], metaprompt="Be kind."), folder
    )
    assert "Dates" in found.specification
    assert list(found.reference_texts) == ["Refunds take five."]
    assert found.guidance == "Be kind."


def test_protected_texts_and_the_modules_description_reach_the_stage(folder):
    mapping = section(
        modules=[
            {
                "module_id": "desk",
                "description": "The front desk.",
                "stages": [
                    {
                        "stage_id": "sort",
                        "baseline_instruction": "Sort it. Never guess.",
                        "description": "Sorts mail.",
                        "protected": ["Never guess."],
                    }
                ],
            }
        ]
    )
    config = PromptLearningConfig.from_mapping(mapping, env={}, base_dir=folder)
    (stage,) = to_job_spec(resolve_job(config, dataset_size=200)).stages
    assert list(stage.protected_texts) == ["Never guess."]
    assert stage.module_description == "The front desk."
    assert stage.role == "Sorts mail."
