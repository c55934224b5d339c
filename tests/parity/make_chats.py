#!/usr/bin/env python3
"""Conversations as models' own Jinja programs render them: reference/chats/chats.json.

    tests/parity/make_chats.py FOLDER

FOLDER holds the programs, one file each: qwen2.5.jinja, llama-3.2.jinja, mistral-v3.jinja, mistral-nemo.jinja,
gemma3.jinja (the `tokenizer.chat_template` of a model file of that name). Only what they render goes into the
tree. Needs the PyPI package jinja2. Begin-of-text is left out: the tokenizer adds it."""
import json
import pathlib
import sys

import jinja2.sandbox

HERE = pathlib.Path(__file__).parent
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather in a city", "parameters": {
        "type": "object", "properties": {
            "city": {"type": "string", "description": "Its name, \u00e0 la \"Z\u00fcrich\""},
            "days": {"type": "integer", "minimum": 1, "default": 3},
            "threshold": {"type": "number", "default": 0.5, "enum": [0.5, 1.0, 2e20]}},
        "required": ["city"], "additionalProperties": False}}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time", "parameters": {
    "type": "object", "properties": {}}}}
BARE = {"type": "function", "function": {"name": "bare"}}


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def called(*calls, content=""):
    return {"role": "assistant", "content": content, "tool_calls": [
        {"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in calls]}


def result(call, text):
    return {"role": "tool", "tool_call_id": call, "content": text}


SYSTEM = {"role": "system", "content": "Be kind."}
PARIS = ("abcDEF123", "get_weather", {"city": "Paris", "days": 2})
# NAME: messages, tools, whether the assistant's turn is opened.
CHATS = {
    "question": ([user("Hi")], None, True),
    "closed": ([user("Hi"), said("Hello")], None, False),
    "dialogue": ([SYSTEM, user("Hi"), said("Hello"), user("  Bye \n")], None, True),
    "unicode": ([user("Gr\u00fc\u00dfe \u4e2d\u6587 \U0001f642")], None, True),
    "tools": ([user("Weather in Paris?")], [WEATHER, CLOCK], True),
    "tools and system": ([SYSTEM, user("Weather?")], [WEATHER], True),
    "bare tool": ([user("Do it")], [BARE], True),
    "second question": ([SYSTEM, user("Hi"), said("Hello"), user("Weather?")], [WEATHER], True),
    "call": ([user("Weather?"), called(PARIS)], [WEATHER], False),
    "result": ([user("Weather?"), called(PARIS), result("abcDEF123", '{"temperature": 21.5}')], [WEATHER], True),
    "answered": ([user("Weather?"), called(PARIS), result("abcDEF123", "21"), said("Mild."), user("Thanks")], [WEATHER], True),
    "two calls": ([user("Both?"), called(PARIS, ("xyz987654", "clock", {})), result("abcDEF123", "21"),
                   result("xyz987654", "noon")], [WEATHER, CLOCK], True),
    "call with words": ([user("Weather?"), called(PARIS, content="Let me look."), result("abcDEF123", "21")], [WEATHER], True),
    "strange arguments": ([user("?"), called(("abcDEF123", "get_weather", {
        "city": "Z\u00fcrich\n\t\"\\/\u0001", "n": [1, -2.5, 1e-7, 1.0, None, True, {}, []]}))], None, False),
}


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    made.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)

    def refuse(why):
        raise jinja2.TemplateError(why)
    made.globals["raise_exception"] = refuse
    return made


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    made = {"chats": {name: {"messages": m, "tools": t, "open": o} for name, (m, t, o) in CHATS.items()}, "rendered": {}}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
        program = environment().from_string(path.read_text())
        texts = {}
        for name, (messages, tools, opened) in CHATS.items():
            given = {"tools": tools} if tools else {}
            try:
                texts[name] = program.render(
                    messages=messages, add_generation_prompt=opened, bos_token="", eos_token="</s>", **given)
            except jinja2.TemplateError as why:
                texts[name] = None
                print(f"{path.stem}: {name}: refused: {why}")
        made["rendered"][path.stem] = texts
    folder = HERE / "reference" / "chats"
    folder.mkdir(exist_ok=True)
    (folder / "chats.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
