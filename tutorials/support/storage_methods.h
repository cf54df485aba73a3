#pragma once
// Every way to store a model's weights that Chalk has, under one signature: what `compare` runs.

#include <functional>
#include <string>
#include <vector>

#include "tutorials/support/measured_model.h"

namespace chalk {

struct StorageOptions {
  int bits = 4;          // of the methods that have a choice
  int64_t group = 64;    // inputs that share a scale
  bool head = false;     // RTN and NF4: the output product too
  bool has_text = true;  // without text there is nothing to calibrate GPTQ and AWQ on
};

struct StorageMethod {
  std::string name;  // "GPTQ, 4 bits"
  // Quantizes the model and saves it below `folder` where its community has a format (an empty folder: do not save). Returns
  // the codes that are to be packed into its slots; none when the model is already as it should be.
  std::function<std::vector<QuantizedWeight>(MeasuredModel& m, const std::string& folder)> apply;
};

// The first is the float model.
std::vector<StorageMethod> storage_methods(const StorageOptions& options);

}  // namespace chalk
