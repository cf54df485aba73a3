// The models and texts of quantization tutorials.

#include "tutorials/support/subject.h"

#include <algorithm>
#include <cstdlib>

#include "models/io/file.h"
#include "models/train.h"
#include "nn/group_quant_linear.h"
#include "tutorials/support/base_model.h"

namespace chalk {

std::vector<IntTensor> Subject::calibration(int64_t positions) const {
  std::vector<IntTensor> batches;
  for (int64_t i = 0, seen = 0; seen < positions; ++i) {
    const Batch batch = train(i);
    seen += batch.B * batch.T;
    batches.push_back({{batch.B, batch.T}, batch.ids});
  }
  return batches;
}

double Subject::loss(LanguageModel& model, int64_t positions) const {
  const Batch first = validation(0);
  const int64_t count = std::max<int64_t>(1, positions / (first.B * first.T));
  return validation_loss(model, std::min(count, validation_batches), validation);
}

Subject world_subject(const std::string& preset, uint64_t seed, Context& context) {
  TrainSettings settings = training_preset(preset);
  settings.documents = 4000;  // more than calibration takes
  Corpus corpus = make_corpus(settings, seed);
  return {preset, base_model(preset, seed, context), corpus.train, corpus.validation,
          corpus.validation_batches};
}

Subject text_subject(const std::string& name, const std::string& model, const std::string& tokenizer,
                     const std::string& text, uint64_t seed, Context& context) {
  Subject s{name, load_model(model, tokenizer, context.device), {}, {}, 0};
  const auto [head, tail] = split_stream(s.loaded.tokenizer->encode(read_text(text)), 0.5);
  const int64_t T = std::min<int64_t>(256, s.loaded.model->context_length());
  const auto train = std::make_shared<StreamLoader>(head, 8, T, seed);
  const auto validation = std::make_shared<StreamLoader>(tail, 8, T, seed);
  s.train = [train](int64_t i) { return train->batch(i); };
  s.validation = [validation](int64_t i) { return validation->sequential_batch(i); };
  s.validation_batches = validation->sequential_batches();
  return s;
}

std::optional<Subject> stories_subject(uint64_t seed, Context& context) {
  const char* data = std::getenv("CHALK_DATA");
  const std::string folder = data ? data : "data", model = folder + "/models/stories260K/";
  const std::string text = folder + "/text/tinystories_excerpt.txt";
  if (!file_exists(model + "stories260K.bin") || !file_exists(text)) {
    context.say("stories260K is left out: not under CHALK_DATA=" + folder + " (`make data` fetches it)");
    return {};
  }
  return text_subject("stories260K", model + "stories260K.bin", model + "tok512.bin", text, seed, context);
}

void round_blocks(LanguageModel& model, const QuantizerOptions& options) {
  for (size_t i = 0; i < model.blocks().size(); ++i) {
    for (Slot* slot : slots_of(model.block(int64_t(i)), Slot::Kind::Projection)) {
      const Tensor weight = float_linear(*slot).weight;
      const std::vector<float> w = weight.to_vector();
      const QuantizedMatrix q = round_to_nearest(w.data(), weight.dim(0), weight.dim(1), options);
      weight.copy_from(Tensor::from(weight.shape, dequantize(q), weight.device()));
    }
  }
}

}  // namespace chalk
