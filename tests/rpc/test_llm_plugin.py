"""A provider as a plug-in: the example holds to the contract, and is found by its entry point."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from burnish.testing.provider_suite import ProviderSuite, Scripted, scripted_server
from burnish_runtime.llm.base import (
    ChatMessage,
    CompletionRequest,
    JsonSchema,
    ProviderAccess,
    Tool,
)
from burnish_runtime.llm.registry import ProviderInvalid, ProviderRegistry
from burnish_runtime.settings import ServiceSettings
from examples.ollama_provider.burnish_ollama import OllamaProvider

FOLDER = Path(__file__).parents[2] / "examples" / "ollama_provider"
REQUEST = CompletionRequest(
    model="qwen3:32b",
    messages=(ChatMessage(role="user", content="which colour has the sky"),),
    max_output_tokens=9,
)


def chat(text: str, *, input_tokens: int = 3, output_tokens: int = 1, **message: object) -> object:
    return {
        "model": "qwen3:32b",
        "message": {"role": "assistant", "content": text, **message},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": input_tokens,
        "eval_count": output_tokens,
    }


class TestOllama(ProviderSuite):
    def open_provider(self, *, base_url, api_key):
        return OllamaProvider(ProviderAccess(api_key=api_key, base_url=base_url))

    def make_request(self, text, *, timeout_seconds):
        message = ChatMessage(role="user", content=text)
        return replace(REQUEST, messages=(message,), timeout_seconds=timeout_seconds)

    def reply(self, text, *, input_tokens, output_tokens):
        return chat(text, input_tokens=input_tokens, output_tokens=output_tokens)

    def tool_reply(self, name, arguments):
        return chat("", tool_calls=[{"function": {"name": name, "arguments": arguments}}])


async def test_the_example_sends_what_ollama_takes():
    schema = {"type": "object"}
    request = replace(
        REQUEST,
        seed=7,
        temperature=0.5,
        json_schema=JsonSchema(name="x", schema=schema),
        tools=(Tool(name="look", parameters=schema),),
    )
    called = [{"function": {"name": "look", "arguments": {"at": "sky"}}}]
    async with scripted_server(Scripted(body=chat("", tool_calls=called))) as server:
        provider = OllamaProvider(ProviderAccess(base_url=server.url))
        reply = await provider.complete(request)
        await provider.close()
    _, path, _, sent = server.requests[0]
    assert path == "/api/chat"
    assert sent == json.loads(provider.request_body(request))
    assert sent["options"] == {"num_predict": 9, "seed": 7, "temperature": 0.5}
    assert (sent["format"], sent["stream"]) == (schema, False)
    assert sent["tools"][0]["function"]["name"] == "look"
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("look", '{"at": "sky"}')]


def test_an_installed_package_s_provider_is_one_for_the_services_and_for_the_policy(tmp_path):
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    offered = project["entry-points"]["burnish.llm_providers"]
    installed = tmp_path / "burnish_ollama-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: burnish-ollama\n")
    lines = [f"{name} = {value}" for name, value in offered.items()]
    (installed / "entry_points.txt").write_text("\n".join(["[burnish.llm_providers]", *lines]))
    (tmp_path / "burnish_ollama.py").write_text((FOLDER / "burnish_ollama.py").read_text())
    program = """
from burnish.models import ModelRole, check_model
from burnish_proposer.app import ProposerApp
from burnish_runtime.settings import ServiceSettings

app = ProposerApp(ServiceSettings(service="proposer"))
provider = app._registry.get("ollama", base_url="http://127.0.0.1:1")
print(type(provider).__module__, provider.name)
for role in (ModelRole.PROPOSER, ModelRole.POLICY):
    print([found.refused for found in check_model(provider="ollama", model="m", role=role)])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["burnish_ollama ollama", "[]", "[True]"]


@pytest.mark.parametrize("provider", ["ollama", "local", "openai_compatible"])
def test_an_address_of_a_machine_s_own_secrets_is_never_called(provider):
    held = ProviderRegistry(ServiceSettings(service="verifier"), plugins={"ollama": OllamaProvider})
    with pytest.raises(ProviderInvalid, match="never connected"):
        held.get(provider, base_url="http://169.254.169.254/v1")
