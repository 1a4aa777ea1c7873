"""A LangChain program that makes every kind of call; the address is in OPENAI_BASE_URL alone."""
# mypy: disable-error-code="import-not-found, untyped-decorator"

import asyncio
import json
import sys
from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field


class Intent(BaseModel):
    """What a customer wants."""

    intent: str = Field(description="name of the intent")


@tool
def classify(intent: str) -> str:
    """Take note of an intent."""
    return intent


def every_kind(prompt: ChatPromptTemplate, query: dict[str, str]) -> dict[str, Any]:
    model = ChatOpenAI(model="gpt-mine")
    chain = prompt | model | StrOutputParser()
    whole = (prompt | model).invoke(query)
    called = (prompt | model.bind_tools([classify], tool_choice="any")).invoke(query)
    formed = (prompt | model.with_structured_output(Intent)).invoke(query)
    responses = ChatOpenAI(model="gpt-mine", use_responses_api=True)
    embeddings = OpenAIEmbeddings(model="e", check_embedding_ctx_length=False)
    return {
        "whole": whole.content,
        "tokens": whole.usage_metadata["total_tokens"],
        "streamed": "".join(chain.stream(query)),
        "async": asyncio.run(chain.ainvoke(query)),
        "batch": chain.batch([query, query]),
        "called": called.tool_calls[0]["args"],
        "formed": formed.intent,
        "responses": (prompt | responses).invoke(query).text,
        "embedded": len(embeddings.embed_documents(["a", "b"])),
    }


def failing(prompt: ChatPromptTemplate, query: dict[str, str]) -> dict[str, Any]:
    try:
        (prompt | ChatOpenAI(model="gpt-mine")).invoke(query)
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"kinds": kinds, "said": str(error)}
    return {}


def main() -> None:
    given = json.load(sys.stdin)
    messages = [("system", given["system"]), ("user", "Query: {query}")]
    prompt = ChatPromptTemplate.from_messages(messages)
    made = every_kind if given["what"] == "all" else failing
    sys.stdout.write(json.dumps(made(prompt, {"query": given["query"]})))


if __name__ == "__main__":
    main()
