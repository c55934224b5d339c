"""The unmodified openai SDK against coordinator and node as two processes, with the real model."""
import http.server
import json
import sys
import threading

import openai

from dlls_process import MODEL, MODEL_FILE, ROOT, Dlls, until


def models(client):
    assert MODEL in [m.id for m in client.models.list()]
    assert client.models.retrieve(MODEL).object == "model"


def chat(client):
    ask = dict(model=MODEL, messages=[{"role": "user", "content": "What is the capital of South Korea?"}])
    whole = client.chat.completions.create(temperature=0, max_completion_tokens=16, **ask)
    choice = whole.choices[0]
    assert "Seoul" in choice.message.content and choice.finish_reason == "stop", choice
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    short = client.chat.completions.create(temperature=0, max_tokens=3, **ask)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 3
    cut = client.chat.completions.create(temperature=0, stop=["Korea"], max_tokens=16, **ask)
    assert "Korea" not in cut.choices[0].message.content and cut.choices[0].finish_reason == "stop"
    warm = dict(temperature=1.2, seed=7, max_tokens=12, **ask)
    texts = {client.chat.completions.create(**warm).choices[0].message.content for _ in range(2)}
    assert len(texts) == 1, f"one seed, two answers: {texts}"
    probed = client.chat.completions.create(temperature=0, max_tokens=4, logprobs=True, top_logprobs=3, **ask)
    tokens = probed.choices[0].logprobs.content
    assert len(tokens) == 4 and all(len(t.top_logprobs) == 3 and t.logprob <= 0 for t in tokens)
    assert tokens[0].top_logprobs[0].token == tokens[0].token, "greedy is not the likeliest"


def stream(client):
    pieces, usage, reason = [], None, None
    with client.chat.completions.create(
            model=MODEL, temperature=0, max_tokens=16, stream=True, stream_options={"include_usage": True},
            messages=[{"role": "user", "content": "What is the capital of South Korea?"}]) as events:
        for event in events:
            usage = event.usage or usage
            for choice in event.choices:
                pieces.append(choice.delta.content or "")
                reason = choice.finish_reason or reason
    assert "Seoul" in "".join(pieces) and reason == "stop" and usage.completion_tokens > 0
    # Hang up in the middle: the next question is answered all the same.
    events = client.chat.completions.create(
        model=MODEL, max_tokens=400, stream=True, messages=[{"role": "user", "content": "Tell a long story."}])
    next(iter(events))
    events.close()
    chat(client)


def completions(client):
    done = client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=2, temperature=0,
                                     logprobs=2)
    assert "Paris" in done.choices[0].text and done.choices[0].logprobs.tokens[0] == " Paris"
    text = "".join(e.choices[0].text for e in client.completions.create(
        model=MODEL, prompt="The capital of France is", max_tokens=2, temperature=0, stream=True) if e.choices)
    assert text == done.choices[0].text
    many = client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=2, temperature=0, n=16)
    assert [c.text for c in many.choices] == [text] * 16  # twice what the node works on at a time


FORM = {"type": "object", "properties": {
    "capital": {"type": "string"}, "continent": {"enum": ["Asia", "Europe", "Africa"]},
    "coastal": {"type": "boolean"}, "digits": {"type": "array", "items": {"type": "integer"}, "maxItems": 3}},
    "required": ["capital", "continent", "coastal", "digits"], "additionalProperties": False}


def structured(client):
    form = {"type": "json_schema", "json_schema": {"name": "country", "strict": True, "schema": FORM}}
    ask = dict(model=MODEL, messages=[{"role": "user", "content": "Tell me about South Korea, as JSON."}])

    def check(choice):
        assert choice.finish_reason == "stop", choice
        said = json.loads(choice.message.content)
        assert list(said) == FORM["required"], said
        assert type(said["capital"]) is str and type(said["coastal"]) is bool, said
        assert said["continent"] in FORM["properties"]["continent"]["enum"] and len(said["digits"]) <= 3, said
        return said

    for temperature in (0, 1):
        answers = client.chat.completions.create(
            response_format=form, temperature=temperature, seed=3, n=2, max_tokens=300, **ask)
        for choice in answers.choices:
            check(choice)
    check(client.chat.completions.parse(response_format=form, temperature=0, max_tokens=300, **ask).choices[0])
    with client.chat.completions.stream(response_format=form, temperature=0, max_tokens=300, **ask) as events:
        check(events.get_final_completion().choices[0])
    cut = client.chat.completions.create(response_format=form, max_tokens=3, **ask).choices[0]
    assert cut.finish_reason == "length" and cut.message.content.startswith("{"), cut
    free = client.chat.completions.create(
        response_format={"type": "json_object"}, temperature=0, max_tokens=300, **ask).choices[0]
    if free.finish_reason == "stop":
        assert type(json.loads(free.message.content)) is dict, free
    for schema, place in (({"properties": {"a": {"pattern": "x"}}}, "#/properties/a: 'pattern'"),
                          ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no text")):
        try:
            client.chat.completions.create(response_format={
                "type": "json_schema", "json_schema": {"name": "x", "schema": schema}}, **ask)
            raise AssertionError("a schema that cannot be kept to was accepted")
        except openai.BadRequestError as why:
            assert place in why.message, why.message


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Today's weather in a city", "strict": True,
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"], "additionalProperties": False}}},
    {"type": "function", "function": {"name": "clock", "description": "The time of day"}}]


def tools(client):
    said = [{"role": "user", "content": "What is the weather in Paris, in celsius?"}]
    ask = dict(model=MODEL, tools=TOOLS, temperature=0, max_tokens=200)

    def called(message, name):
        (call,) = message.tool_calls
        assert call.type == "function" and call.id.startswith("call_") and call.function.name == name, message
        assert message.content is None, message
        return json.loads(call.function.arguments)

    named = {"type": "function", "function": {"name": "get_weather"}}
    choice = client.chat.completions.create(messages=said, tool_choice=named, **ask).choices[0]
    assert choice.finish_reason == "tool_calls", choice
    arguments = called(choice.message, "get_weather")
    assert list(arguments) == ["city", "unit"] and arguments["unit"] in ("celsius", "fahrenheit"), arguments
    clock = {"type": "function", "function": {"name": "clock"}}
    assert called(client.chat.completions.create(messages=said, tool_choice=clock, **ask).choices[0].message,
                  "clock") == {}
    either = client.chat.completions.create(messages=said, tool_choice="required", **ask).choices[0].message
    called(either, either.tool_calls[0].function.name)
    with client.chat.completions.stream(messages=said, tool_choice=named, **ask) as events:
        done = events.get_final_completion().choices[0]
    assert done.finish_reason == "tool_calls" and called(done.message, "get_weather") == arguments, done
    # The model is free to call or not; either is in OpenAI's shape, and the whole is what the stream is.
    free = client.chat.completions.create(messages=said, **ask).choices[0]
    with client.chat.completions.stream(messages=said, **ask) as events:
        same = events.get_final_completion().choices[0]
    assert (free.message.content or "") == (same.message.content or ""), (free, same)
    assert bool(free.message.tool_calls) == (free.finish_reason == "tool_calls") == bool(same.message.tool_calls)
    # What the tool says goes back.
    call = choice.message.tool_calls[0]
    answered = client.chat.completions.create(messages=said + [
        choice.message, {"role": "tool", "tool_call_id": call.id, "content": "21 degrees, sunny"}],
        tool_choice="none", **ask).choices[0]
    assert answered.message.content and not answered.message.tool_calls, answered

    for param, more in (("tool_choice", {"tool_choice": {"type": "function", "function": {"name": "launch"}}}),
                        ("tools[1].function.name", {"tools": TOOLS[:1] * 2}),
                        ("tools[0].function.name", {"tools": [{"type": "function", "function": {"name": "a b"}}]}),
                        ("response_format", {"response_format": {"type": "json_object"}})):
        try:
            client.chat.completions.create(messages=said, **{**ask, **more})
            raise AssertionError(f"taken: {more}")
        except openai.BadRequestError as why:
            assert why.param == param, why


def embeddings(client):
    texts = ["The cat sat on the mat.", "A cat was sitting on a mat.", "Interest rates rose in March."]
    made = client.embeddings.create(model=MODEL, input=texts)  # base64, as the SDK asks by default
    cat, same, money = (e.embedding for e in made.data)
    assert [e.index for e in made.data] == [0, 1, 2] and made.usage.total_tokens > 10, made.usage

    def likeness(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert len(cat) == 576 and abs(likeness(cat, cat) - 1) < 1e-4
    assert likeness(cat, same) > likeness(cat, money), (likeness(cat, same), likeness(cat, money))
    plain = client.embeddings.create(model=MODEL, input=texts[0], encoding_format="float", dimensions=64)
    assert plain.data[0].embedding[:2] != cat[:2] and abs(likeness(*[plain.data[0].embedding] * 2) - 1) < 1e-4
    for param, more in (("dimensions", {"dimensions": 577}), ("input[0]", {"input": "word " * 9000})):
        try:
            client.embeddings.create(**{"model": MODEL, "input": "x", **more})
            raise AssertionError(f"taken: {param}")
        except openai.BadRequestError as why:
            assert why.param == param, why


def errors(client, dlls):
    def refused(kind, **more):
        try:
            client.chat.completions.create(**{
                "model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1, **more})
        except kind as why:
            return why
        raise AssertionError(f"no {kind.__name__}")

    assert refused(openai.NotFoundError, model="nobody").code == "model_not_found"
    assert refused(openai.BadRequestError, temperature=9).param == "temperature"
    assert "8192" in str(refused(openai.BadRequestError, messages=[{"role": "user", "content": "word " * 9000}]))
    stranger = openai.OpenAI(base_url=dlls.url + "/v1", api_key="dlls-wrong", max_retries=0)
    try:
        stranger.models.list()
        raise AssertionError("a wrong key was accepted")
    except openai.AuthenticationError:
        pass


def files(client):
    content = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    made = client.files.create(file=("small.jsonl", content), purpose="fine-tune")
    assert made.bytes == len(content) and client.files.retrieve(made.id).filename == "small.jsonl"
    assert client.files.content(made.id).read() == content
    assert made.id in [f.id for f in client.files.list()]
    assert client.files.delete(made.id).deleted
    try:
        client.files.retrieve(made.id)
        raise AssertionError("a deleted file is still there")
    except openai.NotFoundError:
        pass


class Receiver:
    """A webhook receiver that keeps what it gets."""

    def __init__(self):
        got = self.got = []

        class handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


def fine_tuning(client, dlls):
    receiver = Receiver()
    secret = dlls.request("PUT", "/v1/webhook", json.dumps({"url": receiver.url, "allow_private": True}).encode(),
                          {"Content-Type": "application/json"})["secret"]
    data = (ROOT / "examples/facts.jsonl").read_bytes()
    file = client.files.create(file=("facts.jsonl", data), purpose="fine-tune")
    create = dict(model=MODEL, training_file=file.id, suffix="sdk", seed=1,
                  method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}})
    job = client.fine_tuning.jobs.create(**create)
    assert job.status in ("validating_files", "queued", "running") and job.fine_tuned_model is None
    again = client.fine_tuning.jobs.create(**create, extra_headers={"Idempotency-Key": "once"})
    same = client.fine_tuning.jobs.create(**create, extra_headers={"Idempotency-Key": "once"})
    assert again.id == same.id != job.id
    assert client.fine_tuning.jobs.cancel(again.id).status == "cancelled"
    done = until("the fine-tune ends", lambda: (j := client.fine_tuning.jobs.retrieve(job.id)).status
                 in ("succeeded", "failed") and j.model_extra["dlls"]["state"] != "ready" and j, 120)
    assert done.status == "succeeded" and done.trained_tokens > 0, done
    assert {job.id, again.id} <= {j.id for j in client.fine_tuning.jobs.list()}
    events = client.fine_tuning.jobs.list_events(job.id, limit=50).data
    assert any("training loss" in e.message for e in events), [e.message for e in events]
    answer = client.chat.completions.create(
        model=done.fine_tuned_model, messages=[{"role": "user", "content": "Hi"}], max_tokens=4, temperature=0)
    assert answer.choices[0].message.content
    headers, body = until("the webhook comes", lambda: next(
        (g for g in receiver.got if json.loads(g[1])["type"] == "fine_tuning.job.succeeded"), None))
    event = openai.OpenAI(api_key="x", webhook_secret=secret).webhooks.unwrap(body, headers)
    assert event.type == "fine_tuning.job.succeeded" and event.data.id == job.id


def main():
    if not MODEL_FILE.exists():
        print(f"SKIPPED: no model at {MODEL_FILE}")
        return 77
    with Dlls(with_model=True) as dlls:
        dlls.start()
        client = openai.OpenAI(base_url=dlls.url + "/v1", api_key=dlls.key, max_retries=0, timeout=120)
        for name, case in {
                "models": lambda: models(client), "chat": lambda: chat(client), "stream": lambda: stream(client),
                "completions": lambda: completions(client), "structured": lambda: structured(client),
                "tools": lambda: tools(client), "embeddings": lambda: embeddings(client),
                "errors": lambda: errors(client, dlls), "files": lambda: files(client),
                "fine_tuning": lambda: fine_tuning(client, dlls)}.items():
            case()
            print(f"{name}: ok", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
