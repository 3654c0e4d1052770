"""Messages, as the anthropic client and Claude Code send them and read what comes."""

from __future__ import annotations

import anthropic
import pytest

from .running_server import RunningServer, data_of

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = [{"role": "user", "content": "How is the weather in Oslo?"}]
GREEDY = {"temperature": 0}
SYSTEM = "You write code. " * 20
OFF = {"type": "disabled"}


@pytest.fixture(scope="module")
def client(server):
    return server.anthropic()


@pytest.fixture(scope="module")
def own_tools(tools):
    """The tools in Anthropic's form."""
    functions = [tool["function"] for tool in tools]
    return [{"name": each["name"], "input_schema": each["parameters"]} for each in functions]


def answered(client, messages=CAPITAL, **more):
    return client.messages.create(
        model="claude", max_tokens=more.pop("max_tokens", 200), messages=messages, extra_body=GREEDY, **more
    )


def test_an_answer_is_blocks_of_thinking_and_text(client):
    message = answered(client)
    thinking, text = message.content
    assert thinking.type == "thinking" and thinking.thinking.startswith("They ask for the capital")
    assert text.text.startswith("The capital of France is")
    assert (message.stop_reason, message.model) == ("end_turn", "claude")
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens > 5


def test_thinking_that_is_disabled_does_not_come(client):
    (text,) = answered(client, thinking=OFF).content
    assert text.text == "The capital of France is Paris."


def test_the_clients_helper_reads_a_call(client, own_tools):
    with client.messages.stream(
        model="claude", max_tokens=200, messages=WEATHER, tools=own_tools, extra_body=GREEDY
    ) as stream:
        for _ in stream:
            pass
        message = stream.get_final_message()
    call = message.content[-1]
    assert (call.name, call.input, message.stop_reason) == ("get_weather", {"city": "Oslo"}, "tool_use")
    assert call.id.startswith("toolu_")


def test_a_result_is_answered(client, own_tools):
    message = answered(client, WEATHER, tools=own_tools, thinking=OFF)
    call = message.content[-1]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain"}]}
    content = [block.model_dump(exclude_none=True) for block in message.content]
    messages = [*WEATHER, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    assert answered(client, messages, tools=own_tools, thinking=OFF).content[0].type == "text"


def test_each_block_of_a_stream_is_closed_before_the_next_begins(script, glm_4_7, own_tools):
    call = "<tool_call>get_time<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>"
    script.replies = ["a thought</think>Well." + call + call.replace("Oslo", "Rome")]
    body = {"max_tokens": 500, "messages": WEATHER, "tools": own_tools, "stream": True}
    with RunningServer(glm_4_7) as running:
        response = running.http().post("/v1/messages", json=body)
    events = [event for event in data_of(response.text) if event["type"] != "ping"]
    assert [events[0]["type"], events[-2]["type"], events[-1]["type"]] == [
        "message_start", "message_delta", "message_stop",
    ]  # fmt: skip
    open_block, kinds = None, []
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert open_block is None
            open_block = event["index"]
            assert open_block == len(kinds)
            kinds.append(event["content_block"]["type"])
        else:
            assert event["index"] == open_block
            open_block = None if event["type"] == "content_block_stop" else open_block
    assert open_block is None
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert [
        e["content_block"]["input"] for e in events if e.get("content_block", {}).get("input") is not None
    ] == [{}, {}]


def test_a_stop_sequence_is_told(client):
    message = answered(client, thinking=OFF, stop_sequences=["of France"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "of France")
    assert message.content[0].text == "The capital "


@pytest.mark.parametrize(
    ("choice", "name"), (({"type": "any"}, None), ({"type": "tool", "name": "add"}, "add"))
)
def test_a_call_that_is_asked_for_comes(client, own_tools, choice, name):
    message = answered(client, tools=own_tools, tool_choice=choice, thinking=OFF)
    assert message.content[0].type == "tool_use"
    assert name in (None, message.content[0].name)


def test_the_beginning_of_an_answer_is_gone_on_from(client):
    messages = [*CAPITAL, {"role": "assistant", "content": "The capital of France"}]
    assert answered(client, messages, thinking=OFF).content[0].text.strip() == "is Paris."


def test_tokens_are_counted_as_the_answer_counts_them(client):
    counted = client.messages.count_tokens(model="claude", messages=CAPITAL, system="Be brief.")
    usage = answered(client, system="Be brief.", max_tokens=1).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def billed(n, text):
    """A text as Claude Code sends it in its n-th request."""
    return f"x-anthropic-billing-header: cc_version=2.0.1.a{n}; cc_entrypoint=cli; cch={n:05x};{text}"


@pytest.mark.parametrize(
    "asked",
    (
        lambda n: {"system": [{"type": "text", "text": billed(n, "")}, {"type": "text", "text": SYSTEM}]},
        lambda n: {"system": billed(n, f"\n\n{SYSTEM}")},
        lambda n: {"messages": [{"role": "system", "content": billed(n, f"\n{SYSTEM}")}, *CAPITAL]},
    ),
    ids=("a block", "a line", "a message"),
)
def test_the_changing_line_of_claude_code_does_not_change_the_prompt(client, asked):
    first, second = (answered(client, **asked(n), max_tokens=1).usage for n in (1, 2))
    assert second.input_tokens == 1  # the last token, of which the logits are wanted
    assert second.cache_read_input_tokens == first.input_tokens + first.cache_read_input_tokens - 1


def test_a_message_of_the_system_between_others_and_unknown_fields_are_taken(client):
    messages = [{"role": "system", "content": "Be brief."}, *CAPITAL]
    extra = {
        **GREEDY,
        "metadata": {"user_id": "u"},
        "context_management": {},
        "thinking": {"type": "adaptive"},
    }
    message = client.messages.create(model="claude", max_tokens=5, messages=messages, extra_body=extra)
    assert message.stop_reason == "max_tokens"


def test_errors_have_the_shape_that_the_client_reads(client, server):
    with pytest.raises(anthropic.BadRequestError, match="GLM models read text only"):
        answered(client, [{"role": "user", "content": [{"type": "image", "source": {}}]}])
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long: .* tokens > 2048 maximum"):
        answered(client, [{"role": "user", "content": "word " * 3000}])
    body = server.http().post("/v1/messages", content=b"{").json()
    assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    assert server.http().get("/v1/messages/nothing").json()["error"]["type"] == "not_found_error"


def test_the_model_is_listed_in_the_clients_form(client):
    (model,) = client.models.list().data
    assert client.models.retrieve("anything").id == "anything"
    assert model.display_name == model.id
