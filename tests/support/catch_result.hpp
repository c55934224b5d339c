// Lets Catch print a base::result: its error, or that it holds a value.
#pragma once
#include <catch2/catch.hpp>

#include "base/error.hpp"

namespace Catch {
template <class T>
struct StringMaker<boost::system::result<T, dlls::base::error>> {
  static std::string convert(const boost::system::result<T, dlls::base::error>& r) {
    return r ? "a value" : r.error().text();
  }
};
}  // namespace Catch
