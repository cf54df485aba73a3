// generate --control-vector, as a user runs it.
#include <gtest/gtest.h>

#include "models/control_vector.h"
#include "models/llama.h"
#include "models/load.h"
#include "models/text/world_tokenizer.h"
#include "tests/expect.h"
#include "tests/tutorials/run_program.h"

namespace chalk {
namespace {

struct ControlVectorProgram : testing::Test {
  ControlVectorProgram() {
    LlamaConfig config;
    config.vocab_size = 417, config.hidden_size = 16, config.intermediate_size = 24,
    config.num_hidden_layers = 2;
    config.num_attention_heads = 2, config.num_key_value_heads = 2, config.head_dim = 8,
    config.max_position_embeddings = 64;
    Llama model(config, Device::CPU);
    model.init(1, {.matrices = 0.3f, .embedding = 0.3f});
    save_model(model, *make_world_tokenizer(), folder / "model");
    ControlVector v{{{1, {}}}, "llama"};
    for (int j = 0; j < 16; ++j) v.directions[1].push_back(3 * random_normal(1, uint64_t(j)));
    write_control_vector(folder / "v.gguf", v);
    v.directions[1].resize(8);
    write_control_vector(folder / "narrow.gguf", v);
  }
  ProgramOutcome generate(const std::string& more) {
    return run_chalk("generate", "--model " + (folder / "model") +
                                     " --prompt '<bos> one day' --temperature 0 --max-new-tokens 8 --json " +
                                     more);
  }
  TestFolder folder;
};

TEST_F(ControlVectorProgram, SteersByItsStrength) {
  const auto plain = generate("").json()["ids"];
  ASSERT_EQ(plain.size(), 8u);
  EXPECT_EQ(generate("--control-vector " + (folder / "v.gguf") + " --control-strength 0").json()["ids"],
            plain);
  const auto forward = generate("--control-vector " + (folder / "v.gguf")).json()["ids"];
  const auto backward =
      generate("--control-vector " + (folder / "v.gguf") + " --control-strength -1").json()["ids"];
  EXPECT_NE(forward, plain);
  EXPECT_NE(forward, backward);
  EXPECT_EQ(forward,
            generate("--control-vector " + (folder / "v.gguf") + " --control-strength 1").json()["ids"]);
}

TEST_F(ControlVectorProgram, SaysWhatDoesNotFit) {
  const ProgramOutcome absent = generate("--control-vector " + (folder / "no.gguf"));
  EXPECT_EQ(absent.exit_code, 3);
  const ProgramOutcome narrow = generate("--control-vector " + (folder / "narrow.gguf"));
  EXPECT_EQ(narrow.exit_code, 2);
  EXPECT_MENTIONS(narrow.err, "8 numbers");
  EXPECT_EQ(generate("--control-vector v.txt").exit_code, 2);
}

}  // namespace
}  // namespace chalk
