"""The unmodified openai SDK against the gateway over a fake backend.

Usage: openai_sdk_test.py FAKE_SERVER. Exits 77 (skipped) when the SDK is not installed.
"""
import io
import subprocess
import sys

try:
    import openai
except ImportError:
    print("skipped: no openai package here")
    sys.exit(77)


def raises(kind, call):
    try:
        call()
    except kind as e:
        return e
    raise AssertionError(f"{kind.__name__} was not raised")


def models(client):
    names = [m.id for m in client.models.list()]
    assert "tiny" in names, names
    assert client.models.retrieve("tiny").owned_by == "dlls"
    e = raises(openai.NotFoundError, lambda: client.models.retrieve("none"))
    assert e.code == "model_not_found" and e.param == "model" and e.request_id.startswith("req_")


def chat(client):
    say = [{"role": "user", "content": "one two three"}]
    whole = client.chat.completions.create(
        model="tiny", messages=say, logprobs=True, top_logprobs=2)
    assert whole.choices[0].message.content == "one two three"
    assert whole.choices[0].logprobs.content[0].top_logprobs[1].token == "alt1"
    assert whole.usage.total_tokens == 10
    stream = client.chat.completions.create(
        model="tiny", messages=say, stream=True, stream_options={"include_usage": True})
    text, usage, finish = "", None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert (text, finish, usage.completion_tokens) == ("one two three", "stop", 3)
    several = client.chat.completions.create(
        model="tiny", messages=say, n=3, max_completion_tokens=1)
    assert [c.finish_reason for c in several.choices] == ["length"] * 3
    with client.chat.completions.stream(model="tiny", messages=say) as helper:
        assert helper.get_final_completion().choices[0].message.content == "one two three"


def completions(client):
    whole = client.completions.create(model="tiny", prompt="a b", logprobs=1)
    assert whole.choices[0].text == "a b" and whole.choices[0].logprobs.tokens == ["a", " b"]
    pieces = client.completions.create(model="tiny", prompt="a b", stream=True)
    assert "".join(p.choices[0].text for p in pieces) == "a b"


def errors(client):
    say = [{"role": "user", "content": "x"}]

    def talk(model, **more):
        return client.chat.completions.create(model=model, messages=say, **more)

    e = raises(openai.BadRequestError, lambda: talk("tiny", temperature=9))
    assert e.param == "temperature" and e.type == "invalid_request_error"
    raises(openai.RateLimitError, lambda: talk("busy"))
    e = raises(openai.APIError, lambda: list(talk("breaking", stream=True)))
    assert e.message == "the node went away", e.message
    raises(openai.AuthenticationError, client.with_options(api_key="wrong").models.list)


def files(client):
    made = client.files.create(file=("train.jsonl", io.BytesIO(b'{"a":1}\n' * 50_000)),
                               purpose="fine-tune")
    assert made.bytes == 400_000 and made.status == "processed"
    assert client.files.retrieve(made.id).filename == "train.jsonl"
    assert client.files.content(made.id).read() == b'{"a":1}\n' * 50_000
    kept = client.files.create(file=b"x", purpose="batch",
                               expires_after={"anchor": "created_at", "seconds": 3600})
    assert kept.expires_at == kept.created_at + 3600
    assert [f.id for f in client.files.list(limit=1)] == [kept.id, made.id]  # it follows `after`
    assert client.files.delete(kept.id).deleted
    raises(openai.NotFoundError, lambda: client.files.retrieve(kept.id))
    return made.id


def fine_tuning(client, training_file):
    jobs = client.fine_tuning.jobs
    job = jobs.create(
        model="tiny", training_file=training_file, suffix="mine", seed=7, metadata={"team": "a"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        extra_headers={"Idempotency-Key": "once"}, extra_body={"dlls": {"rank": 8}})
    assert job.status == "validating_files" and job.hyperparameters.n_epochs == 2
    assert job.method.supervised.hyperparameters.batch_size == "auto"
    assert job.metadata == {"team": "a"} and job.fine_tuned_model is None
    e = raises(openai.ConflictError, lambda: jobs.create(
        model="tiny", training_file=training_file, extra_headers={"Idempotency-Key": "once"}))
    assert e.response.headers["x-should-retry"] == "false"
    assert jobs.retrieve(job.id).id == job.id
    assert [j.id for j in jobs.list()] == [job.id]
    events = [(e.level, e.message) for e in jobs.list_events(job.id, limit=2)]
    assert events[0] == ("info", "step 3") and len(events) == 3
    assert list(jobs.checkpoints.list(job.id)) == []
    assert jobs.cancel(job.id).status == "cancelled"
    raises(openai.ConflictError, lambda: jobs.cancel(job.id))
    raises(openai.NotFoundError, lambda: jobs.retrieve("ftjob-none"))


def main(program):
    server = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        client = openai.OpenAI(base_url=url + "/v1", api_key="sk-alice", max_retries=0, timeout=20)
        models(client)
        chat(client)
        completions(client)
        errors(client)
        fine_tuning(client, files(client))
    finally:
        server.stdin.close()
        code = server.wait(timeout=20)
    assert code == 0, f"the server ended with {code}"
    print(f"openai {openai.__version__}: all passed")


if __name__ == "__main__":
    main(sys.argv[1])
