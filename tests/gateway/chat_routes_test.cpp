#include <array>
#include <catch2/catch.hpp>
#include <span>

#include "tests/gateway/probe.hpp"

using namespace dlls;
using test::ask;
using test::fake_backend;

namespace {

const std::string chat = "/v1/chat/completions";

std::string chat_body(const std::string& more = "", const std::string& text = "one two three") {
  return R"({"model":"tiny","messages":[{"role":"user","content":")" + text + "\"}]" + more + "}";
}

struct refusal {
  const char* body;
  const char* param;
};

void check_refused(fake_backend& backend, std::span<const refusal> all) {
  for (const auto& [body, param] : all) {
    INFO(body);
    const auto a = ask(backend, "POST", chat, {body});
    CHECK(a.status == 400);
    CHECK(a.error("param") == param);
    CHECK(a.error("type") == "invalid_request_error");
    CHECK_FALSE(a.error("message").empty());
    CHECK(a.json().size("/error") == 4);
  }
}

}  // namespace

TEST_CASE("a chat answers with OpenAI's object") {
  fake_backend backend;
  const auto a = ask(backend, "POST", chat, {chat_body()});
  REQUIRE(a.status == 200);
  const auto j = a.json();
  CHECK(j.text("/object") == "chat.completion");
  CHECK(j.text("/id")->starts_with("chatcmpl-"));
  CHECK(j.integer("/created") == 1'750'000'000);
  CHECK(j.text("/model") == "tiny");
  CHECK(j.text("/choices/0/message/role") == "assistant");
  CHECK(j.text("/choices/0/message/content") == "one two three");
  CHECK(j.text("/choices/0/finish_reason") == "stop");
  CHECK(j.dump("/choices/0/logprobs") == "null");
  CHECK(j.integer("/usage/prompt_tokens") == 7);
  CHECK(j.integer("/usage/completion_tokens") == 3);
  CHECK(j.integer("/usage/total_tokens") == 10);
}

TEST_CASE("sampling parameters reach the backend, and unknown fields are ignored") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", chat,
          {chat_body(R"(,"temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.05,"seed":-3,
        "repetition_penalty":1.1,"frequency_penalty":-2,"presence_penalty":2,"max_tokens":2,
        "stop":["END",""],"logit_bias":{"17":-100},"user":"u","store":true,"tools":[],
        "response_format":{"type":"text"},"something_new":{"a":[1]},"stream":null)")});
  REQUIRE(a.status == 200);
  const auto g = backend.generations().at(0);
  CHECK(g.who.owner == "alice");
  CHECK(g.temperature == 0.5);
  CHECK(g.top_p == 0.9);
  CHECK(g.top_k == 40);
  CHECK(g.min_p == 0.05);
  CHECK(g.seed == -3);
  CHECK(g.repetition_penalty == 1.1);
  CHECK(g.frequency_penalty == -2);
  CHECK(g.presence_penalty == 2);
  CHECK(g.max_tokens == 2u);
  CHECK(g.stop == std::vector<std::string>{"END"});
  REQUIRE(g.logit_bias.size() == 1);
  CHECK(g.logit_bias[0] == std::pair<std::uint32_t, double>{17, -100});
  CHECK(a.json().text("/choices/0/finish_reason") == "length");
}

TEST_CASE("a response format reaches the backend as a schema, its members in their order") {
  fake_backend backend;
  const auto schema_for = [&](const std::string& format) {
    const auto a = ask(backend, "POST", chat, {chat_body(",\"response_format\":" + format)});
    REQUIRE(a.status == 200);
    return backend.generations().back().schema;
  };
  CHECK(schema_for("null").empty());
  CHECK(schema_for(R"({"type":"text"})").empty());
  CHECK(schema_for(R"({"type":"json_object"})") == R"({"type":"object"})");
  const std::string schema = R"({"properties":{"z":{},"a":{"const":"\u00e9"}},"type":"object"})";
  CHECK(
      schema_for(
          R"({"type":"json_schema","json_schema":{"name":"my-form_1","strict":true,
            "description":"d","schema":)" +
          schema + "}}") ==
      "{\"properties\":{\"z\":{},\"a\":{\"const\":\"\xC3\xA9\"}},\"type\":\"object\"}");
}

TEST_CASE("max_completion_tokens goes before the deprecated max_tokens") {
  fake_backend backend;
  ask(backend, "POST", chat, {chat_body(R"(,"max_completion_tokens":5,"max_tokens":2)")});
  CHECK(backend.generations().at(0).max_tokens == 5u);
}

TEST_CASE("text parts of a content array are joined") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", chat, {R"({"model":"tiny","messages":[{"role":"user","content":[
        {"type":"text","text":"one "},{"type":"text","text":"two"}]}]})"});
  REQUIRE(a.status == 200);
  CHECK(backend.generations().at(0).messages.at(0).content == "one two");
}

TEST_CASE("every choice of n is a generation with its own seed") {
  fake_backend backend;
  const auto a = ask(backend, "POST", chat, {chat_body(R"(,"n":3,"seed":5)")});
  REQUIRE(a.status == 200);
  CHECK(a.json().size("/choices") == 3);
  CHECK(a.json().integer("/choices/2/index") == 2);
  CHECK(a.json().integer("/usage/prompt_tokens") == 7);
  CHECK(a.json().integer("/usage/completion_tokens") == 9);
  CHECK(backend.generations().at(2).seed == 7);
}

TEST_CASE("chat logprobs carry tokens, bytes and alternatives") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", chat, {chat_body(R"(,"logprobs":true,"top_logprobs":2)", "h\xC3\xA9")});
  const auto j = a.json();
  REQUIRE(j.size("/choices/0/logprobs/content") == 1);
  CHECK(j.text("/choices/0/logprobs/content/0/token") == "h\xC3\xA9");
  CHECK(j.dump("/choices/0/logprobs/content/0/bytes") == "[104,195,169]");
  CHECK(j.number("/choices/0/logprobs/content/0/logprob") == -0.5);
  CHECK(j.size("/choices/0/logprobs/content/0/top_logprobs") == 2);
  CHECK(j.text("/choices/0/logprobs/content/0/top_logprobs/1/token") == "alt1");
  CHECK(j.dump("/choices/0/logprobs/refusal") == "null");
}

TEST_CASE("a streamed chat gives the role, the pieces, the end, the usage and [DONE]") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", chat,
          {chat_body(R"(,"stream":true,"stream_options":{"include_usage":true})")});
  REQUIRE(a.status == 200);
  REQUIRE(a.whole->events.size() == 7);
  CHECK(a.event(0).text("/object") == "chat.completion.chunk");
  CHECK(a.event(0).text("/choices/0/delta/role") == "assistant");
  CHECK(a.event(0).dump("/usage") == "null");
  CHECK(a.event(1).text("/choices/0/delta/content") == "one");
  CHECK(a.event(3).text("/choices/0/delta/content") == " three");
  CHECK(a.event(3).dump("/choices/0/finish_reason") == "null");
  CHECK(a.event(4).dump("/choices/0/delta") == "{}");
  CHECK(a.event(4).text("/choices/0/finish_reason") == "stop");
  CHECK(a.event(5).dump("/choices") == "[]");
  CHECK(a.event(5).integer("/usage/total_tokens") == 10);
  CHECK(a.event(5).text("/id") == a.event(0).text("/id"));
  CHECK(a.whole->events[6] == "[DONE]");
  CHECK(a.whole->ended);
}

TEST_CASE("streamed choices are told apart by their index") {
  fake_backend backend;
  const auto a = ask(backend, "POST", chat, {chat_body(R"(,"stream":true,"n":2)", "hi")});
  REQUIRE(a.whole->events.size() == 7);
  CHECK(a.event(0).integer("/choices/0/index") == 0);
  CHECK(a.event(5).integer("/choices/0/index") == 1);
  CHECK(a.event(5).text("/choices/0/finish_reason") == "stop");
}

TEST_CASE("an unknown model is 404 model_not_found, streamed or not") {
  fake_backend backend;
  for (const auto* more : {"", R"(,"stream":true)"}) {
    const auto a =
        ask(backend, "POST", chat,
            {R"({"model":"gpt-9","messages":[{"role":"user","content":"x"}])" + std::string{more} +
             "}"});
    CHECK(a.status == 404);
    CHECK(a.error("code") == "model_not_found");
    CHECK(a.error("param") == "model");
    CHECK(a.error("type") == "invalid_request_error");
    CHECK(a.error("message").find("gpt-9") != std::string::npos);
  }
}

TEST_CASE("a stream that breaks ends with an error object and without [DONE]") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", chat,
          {R"({"model":"breaking","stream":true,"messages":[{"role":"user","content":"x"}]})"});
  REQUIRE(a.whole->events.size() == 3);
  CHECK(a.event(2).text("/error/message") == "the node went away");
  CHECK(a.event(2).text("/error/code") == "unavailable");
  CHECK(a.whole->ended);
}

TEST_CASE("a full queue is 429 with a Retry-After that the SDK accepts") {
  fake_backend backend;
  const auto a = ask(
      backend, "POST", chat, {R"({"model":"busy","messages":[{"role":"user","content":"x"}]})"});
  CHECK(a.status == 429);
  CHECK(a.error("code") == "rate_limit_exceeded");
  CHECK(std::stoi(a.header("retry-after")) <= 120);
}

TEST_CASE("when the client goes, every generation of the request is cancelled") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", chat,
          {R"({"model":"silent","n":2,"stream":true,"messages":[{"role":"user","content":"x"}]})"});
  REQUIRE(a.whole->gone);
  a.whole->gone();
  CHECK(backend.cancelled() == 2);
}

TEST_CASE("a wrong chat body is 400 and names the parameter") {
  fake_backend backend;
  const auto all = std::to_array<refusal>({
      {R"({"messages":[{"role":"user","content":"x"}]})", "model"},
      {R"({"model":7,"messages":[{"role":"user","content":"x"}]})", "model"},
      {R"({"model":"tiny"})", "messages"},
      {R"({"model":"tiny","messages":[]})", "messages"},
      {R"({"model":"tiny","messages":"hi"})", "messages"},
      {R"({"model":"tiny","messages":["hi"]})", "messages[0]"},
      {R"({"model":"tiny","messages":[{"content":"x"}]})", "messages[0].role"},
      {R"({"model":"tiny","messages":[{"role":"king","content":"x"}]})", "messages[0].role"},
      {R"({"model":"tiny","messages":[{"role":"user"}]})", "messages[0].content"},
      {R"({"model":"tiny","messages":[{"role":"user","content":5}]})", "messages[0].content"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"},
        {"role":"user","content":{}}]})",
       "messages[1].content"},
      {R"({"model":"tiny","messages":[{"role":"user","content":[{"type":"image_url",
        "image_url":{"url":"x"}}]}]})",
       "messages[0].content[0]"},
      {R"({"model":"tiny","messages":[{"role":"user","content":[{"type":"text"}]}]})",
       "messages[0].content[0]"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"temperature":"hot"})",
       "temperature"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"temperature":2.1})",
       "temperature"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"temperature":1e999})",
       "temperature"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"max_tokens":0})",
       "max_tokens"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"max_tokens":-1})",
       "max_tokens"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"max_tokens":1.5})",
       "max_tokens"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "max_tokens":99999999999999999999999})",
       "max_tokens"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"n":0})", "n"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"n":129})", "n"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"stop":[1]})", "stop"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "stop":["a","b","c","d","e"]})",
       "stop"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"top_logprobs":3})",
       "top_logprobs"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"logit_bias":{"x":1}})",
       "logit_bias.x"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"logit_bias":{"1":101}})",
       "logit_bias.1"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"stream":"yes"})", "stream"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "functions":[{"name":"f"}]})",
       "functions"},
  });
  check_refused(backend, all);
  CHECK(backend.generations().empty());
}

TEST_CASE("a wrong response format is 400 with its place") {
  fake_backend backend;
  const auto all = std::to_array<refusal>({
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "response_format":{"type":"grammar"}})",
       "response_format.type"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],"response_format":{}})",
       "response_format.type"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "response_format":{"type":"json_schema"}})",
       "response_format.json_schema"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "response_format":{"type":"json_schema","json_schema":{"schema":{}}}})",
       "response_format.json_schema.name"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "response_format":{"type":"json_schema","json_schema":{"name":"a b","schema":{}}}})",
       "response_format.json_schema.name"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "response_format":{"type":"json_schema","json_schema":{"name":"a"}}})",
       "response_format.json_schema.schema"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "response_format":{"type":"json_schema","json_schema":{"name":"a","schema":[]}}})",
       "response_format.json_schema.schema"},
      {R"({"model":"tiny","messages":[{"role":"user","content":"x"}],
        "response_format":{"type":"json_schema",
          "json_schema":{"name":"a","strict":"yes","schema":{}}}})",
       "response_format.json_schema.strict"},
  });
  check_refused(backend, all);
  CHECK(backend.generations().empty());
}

TEST_CASE("tools, their choice and earlier calls reach the backend") {
  fake_backend backend;
  const auto a = ask(backend, "POST", chat, {R"({"model":"tiny","messages":[
        {"role":"user","content":"x"},
        {"role":"assistant","tool_calls":[{"id":"c1","type":"function",
          "function":{"name":"f","arguments":"{\"a\":1}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"one two"}],
        "tools":[{"type":"function","function":{"name":"f"}}],
        "tool_choice":{"type":"function","function":{"name":"f"}},
        "parallel_tool_calls":false})"});
  REQUIRE(a.status == 200);
  const auto g = backend.generations().at(0);
  CHECK(g.tools == R"([{"type":"function","function":{"name":"f"}}])");
  CHECK(g.call_required);
  CHECK(g.call_name == "f");
  CHECK_FALSE(g.parallel_calls);
  REQUIRE(g.messages.size() == 3);
  REQUIRE(g.messages[1].tool_calls.size() == 1);
  CHECK(g.messages[1].tool_calls[0].id == "c1");
  CHECK(g.messages[1].tool_calls[0].name == "f");
  CHECK(g.messages[1].tool_calls[0].arguments == "{\"a\":1}");
  CHECK(g.messages[2].tool_call_id == "c1");
  const auto empty = R"({"model":"tiny","messages":[{"role":"user","content":"x"},
    {"role":"assistant","tool_calls":[{"id":"c1","type":"function",
      "function":{"name":"f","arguments":""}}]}]})";
  REQUIRE(ask(backend, "POST", chat, {empty}).status == 200);
  CHECK(backend.generations().back().messages[1].tool_calls[0].arguments == "{}");
  const std::string tools = R"(,"tools":[{"type":"function","function":{"name":"f"}}])";
  ask(backend, "POST", chat, {chat_body(tools)});
  ask(backend, "POST", chat, {chat_body(tools + R"(,"tool_choice":"required")")});
  ask(backend, "POST", chat, {chat_body(tools + R"(,"tool_choice":"none")")});
  const auto all = backend.generations();
  CHECK((!all[2].call_required && all[2].parallel_calls && !all[2].tools.empty()));
  CHECK((all[3].call_required && all[3].call_name.empty()));
  CHECK(all[4].tools.empty());
}

TEST_CASE("a model's calls come as OpenAI's objects, whole or in chunks") {
  fake_backend backend;
  const std::string body = R"({"model":"calling","messages":[{"role":"user","content":"x"}])";
  const auto whole = ask(backend, "POST", chat, {body + "}"}).json();
  CHECK(whole.dump("/choices/0/message/content") == "null");
  CHECK(whole.text("/choices/0/finish_reason") == "tool_calls");
  CHECK(whole.size("/choices/0/message/tool_calls") == 2);
  CHECK(whole.text("/choices/0/message/tool_calls/1/id") == "call_2");
  CHECK(whole.text("/choices/0/message/tool_calls/1/type") == "function");
  CHECK(whole.text("/choices/0/message/tool_calls/1/function/name") == "clock");
  CHECK(whole.text("/choices/0/message/tool_calls/1/function/arguments") == "{}");

  const auto a = ask(backend, "POST", chat, {body + R"(,"stream":true})"});
  CHECK(a.event(0).dump("/choices/0/delta/content") == "null");
  CHECK(a.event(1).integer("/choices/0/delta/tool_calls/0/index") == 0);
  CHECK(a.event(1).text("/choices/0/delta/tool_calls/0/id") == "call_1");
  CHECK(a.event(1).text("/choices/0/delta/tool_calls/0/function/name") == "get_weather");
  CHECK(a.event(2).integer("/choices/0/delta/tool_calls/0/index") == 1);
  CHECK(a.event(3).text("/choices/0/finish_reason") == "tool_calls");
}

TEST_CASE("a wrong tool, choice or call is 400 with its place") {
  fake_backend backend;
  const std::string f = R"("tools":[{"type":"function","function":{"name":"f"}}])";
  const auto body = [](const std::string& more) {
    return R"({"model":"tiny","messages":[{"role":"user","content":"x"}],)" + more + "}";
  };
  const auto said = [](const std::string& message) {
    return R"({"model":"tiny","messages":[{"role":"user","content":"x"},)" + message + "]}";
  };
  const auto call = [&](const std::string& one) {
    return said(R"({"role":"assistant","tool_calls":[)" + one + "]}");
  };
  const std::vector<std::pair<std::string, const char*>> all{
      {body(R"("tools":{})"), "tools"},
      {body(R"("tool_choice":"required")"), "tool_choice"},
      {body(f + R"(,"tool_choice":"often")"), "tool_choice"},
      {body(f + R"(,"tool_choice":7)"), "tool_choice"},
      {body(f + R"(,"tool_choice":{"type":"custom"})"), "tool_choice.type"},
      {body(f + R"(,"tool_choice":{"type":"function"})"), "tool_choice.function"},
      {body(f + R"(,"tool_choice":{"type":"function","function":{}})"),
       "tool_choice.function.name"},
      {body(f + R"(,"parallel_tool_calls":1)"), "parallel_tool_calls"},
      {call("7"), "messages[1].tool_calls[0]"},
      {call(R"({"type":"function","function":{"name":"f","arguments":"{}"}})"),
       "messages[1].tool_calls[0].id"},
      {call(R"({"id":"a","type":"custom"})"), "messages[1].tool_calls[0].type"},
      {call(R"({"id":"a","type":"function"})"), "messages[1].tool_calls[0].function"},
      {call(R"({"id":"a","type":"function","function":{"arguments":"{}"}})"),
       "messages[1].tool_calls[0].function.name"},
      {call(R"({"id":"a","type":"function","function":{"name":"f"}})"),
       "messages[1].tool_calls[0].function.arguments"},
      {said(R"({"role":"user","content":"y","tool_calls":[{"id":"a","type":"function",
        "function":{"name":"f","arguments":"{}"}}]})"),
       "messages[1].tool_calls"},
      {said(R"({"role":"tool","content":"y"})"), "messages[1].tool_call_id"},
      {said(R"({"role":"tool","content":"y","tool_call_id":"never"})"), "messages[1].tool_call_id"},
      {said(R"({"role":"assistant","tool_calls":[]})"), "messages[1].content"}};
  for (const auto& [text, param] : all) {
    const auto one = std::to_array<refusal>({{text.c_str(), param}});
    check_refused(backend, one);
  }
  CHECK(backend.generations().empty());
}

TEST_CASE("what the node says of a request comes with its place and its time") {
  fake_backend backend;
  base::error why{base::errc::unsupported, "'pattern' is not supported"};
  backend.fail_with(why.about("tools[3].function.parameters"));
  auto a = ask(backend, "POST", chat, {chat_body()});
  CHECK(a.status == 400);
  CHECK(a.error("param") == "tools[3].function.parameters");
  why = {base::errc::too_long, "the prompt has 9000 tokens"};
  backend.fail_with(why);
  a = ask(backend, "POST", chat, {chat_body()});
  CHECK(a.status == 400);
  CHECK(a.error("code") == "context_length_exceeded");
  CHECK(a.error("param") == "messages");
  why = {base::errc::resource_exhausted, "full"};
  for (const auto& [told, sent] : {std::pair{17u, "17"}, std::pair{4000u, "60"}}) {
    why.retry_after_s = told;
    backend.fail_with(why);
    a = ask(backend, "POST", chat, {chat_body()});
    CHECK(a.status == 429);
    CHECK(a.header("retry-after") == sent);
  }
}

TEST_CASE("a body that is not a JSON object is 400 with the place null") {
  fake_backend backend;
  const std::string deep = R"({"model":)" + std::string(65, '[') + std::string(65, ']') + "}";
  for (const std::string body :
       {"", "{", "[]", "\"x\"", "{\"a\":NaN}", "{\"a\":Infinity}", "{\"a\":1}x", "{'a':1}",
        "{\"a\":\"\xff\"}", "{\"a\":\"\\ud800\"}", deep.c_str()}) {
    INFO(body);
    const auto a = ask(backend, "POST", chat, {body});
    CHECK(a.status == 400);
    CHECK(a.json().dump("/error/param") == "null");
  }
}

TEST_CASE("text completions take a prompt or several, and have their own logprobs") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", "/v1/completions",
          {R"({"model":"tiny","prompt":["a b","c"],"n":2,"logprobs":1})"});
  REQUIRE(a.status == 200);
  const auto j = a.json();
  CHECK(j.text("/object") == "text_completion");
  REQUIRE(j.size("/choices") == 4);
  CHECK(j.text("/choices/0/text") == "a b");
  CHECK(j.text("/choices/3/text") == "c");
  CHECK(j.dump("/choices/0/logprobs/tokens") == R"(["a"," b"])");
  CHECK(j.dump("/choices/0/logprobs/text_offset") == "[0,1]");
  CHECK(j.number("/choices/0/logprobs/top_logprobs/0/a") == -0.5);
  CHECK(j.integer("/usage/prompt_tokens") == 28);
  CHECK(backend.generations().at(0).max_tokens == 16u);
}

TEST_CASE("a streamed text completion gives its text and [DONE]") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", "/v1/completions", {R"({"model":"tiny","prompt":"a b","stream":true})"});
  REQUIRE(a.whole->events.size() == 4);
  CHECK(a.event(0).text("/object") == "text_completion");
  CHECK(a.event(1).text("/choices/0/text") == " b");
  CHECK(a.event(2).text("/choices/0/text") == "");
  CHECK(a.event(2).text("/choices/0/finish_reason") == "stop");
  CHECK(a.whole->events[3] == "[DONE]");
}

TEST_CASE("a wrong completion body is 400 and names the parameter") {
  fake_backend backend;
  const auto all = std::to_array<refusal>({
      {R"({"model":"tiny"})", "prompt"},
      {R"({"model":"tiny","prompt":[1,2]})", "prompt"},
      {R"({"model":"tiny","prompt":[]})", "prompt"},
      {R"({"model":"tiny","prompt":5})", "prompt"},
      {R"({"model":"tiny","prompt":"x","echo":true})", "echo"},
      {R"({"model":"tiny","prompt":"x","suffix":"y"})", "suffix"},
      {R"({"model":"tiny","prompt":"x","best_of":2})", "best_of"},
      {R"({"model":"tiny","prompt":["x","y"],"n":9})", "n"},
  });
  for (const auto& [body, param] : all) {
    INFO(body);
    const auto a = ask(backend, "POST", "/v1/completions", {body});
    CHECK(a.status == 400);
    CHECK(a.error("param") == param);
  }
}

TEST_CASE("models are listed and found, also under names with slashes and colons") {
  fake_backend backend;
  const auto list = ask(backend, "GET", "/v1/models");
  CHECK(list.json().text("/object") == "list");
  CHECK(list.json().text("/data/0/id") == "tiny");
  CHECK(list.json().text("/data/0/object") == "model");
  CHECK(list.json().integer("/data/0/created") == 1'750'000'000);
  CHECK(list.json().text("/data/0/owned_by") == "dlls");
  CHECK(ask(backend, "GET", "/v1/models/tiny").json().text("/id") == "tiny");
  const auto a = ask(backend, "GET", "/v1/models/ft:org/x%20y");
  CHECK(a.status == 404);
  CHECK(a.error("code") == "model_not_found");
  CHECK(a.error("message").find("'ft:org/x y'") != std::string::npos);
}

TEST_CASE("health tells strangers little and key holders more") {
  fake_backend backend;
  const auto open = ask(backend, "GET", "/health");
  CHECK(open.status == 200);
  CHECK(open.json().text("/status") == "ok");
  CHECK(open.json().integer("/nodes_connected") == 1);
  CHECK_FALSE(open.json().has("/jobs"));
  CHECK(ask(backend, "GET", "/v1/health").json().has("/jobs"));
}
