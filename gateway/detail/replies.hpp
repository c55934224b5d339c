// The plain ways a backend's reply becomes a response: one object, or a page of them.
#pragma once
#include "gateway/detail/errors.hpp"
#include "gateway/detail/json_output.hpp"
#include "gateway/detail/routes.hpp"

namespace dlls::gateway::detail {

// `to_object` makes the JSON object of a T; an error goes out in the envelope.
template <class T, class F>
reply<T> object_reply(const exchange_ptr& out, F to_object) {
  return on_home<T>(out, [out, to_object](base::result<T> got) {
    out->send(got ? json_response(to_object(*got)) : to_response(got.error()));
  });
}

template <class T, class F>
reply<page<T>> page_reply(const exchange_ptr& out, F to_object) {
  return on_home<page<T>>(out, [out, to_object](base::result<page<T>> got) {
    out->send(got ? list_response(got->items, got->has_more, to_object) : to_response(got.error()));
  });
}

}  // namespace dlls::gateway::detail
