#include "model/llama_config.hpp"
