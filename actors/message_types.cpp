#include "actors/message_types.hpp"

namespace dlls::actors {

runtime::link::options link_options() {
  runtime::link::options options;
  options.rules.allow_interface<cloud_door>();
  options.rules.allow_interface<node_door>();
  return options;
}

}  // namespace dlls::actors
