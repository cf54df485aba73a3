#include "tutorials/support/json.h"

#include <cmath>

namespace chalk {

Json without_nan(Json value) {
  if (!value.is_structured()) return value;
  bool found = false;
  for (Json& child : value) {
    if (child.is_number_float() && !std::isfinite(child.get<double>())) {
      child = nullptr;
      found = true;
    } else {
      child = without_nan(std::move(child));
    }
  }
  if (found && value.is_object()) value["nan"] = true;
  return value;
}

std::string to_text(const Json& value, int indent) {
  return without_nan(value).dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace chalk
