#pragma once
// Adapters between files (models/io/peft.h) and running models.

#include "models/io/peft.h"
#include "models/language_model.h"

namespace chalk {

// A copy of the model's adapters, ready to be written. Throws Error when it has none, or when they differ in rank or alpha
// (PEFT's patterns are not written).
// PEFT adapts whole projections only. An adapter on P parts of c_attn becomes one of rank P·r on all of it, with zeros in B
// for the outputs of other parts, and alpha such that the scale stays: the same function. Read back it is such a wide adapter;
// trained further, its zeros learn too.
PeftAdapter adapter_of(LanguageModel& model, const std::string& base_model = "");

// Freezes the model and puts the adapter on it; `path` names the source in messages. The base may be float or NF4.
// Throws FileError when the adapter names a projection that the model lacks, or has other sizes.
void attach_adapter(LanguageModel& model, const PeftAdapter& adapter, const std::string& path);

// adapter_config.json and adapter_model.safetensors in `folder`.
void save_adapter(LanguageModel& model, const std::string& folder, const std::string& base_model = "");
void load_adapter(LanguageModel& model, const std::string& folder);

}  // namespace chalk
