// Control vectors: both formats both ways, hostile files, and the same effect as a bias.
#include "models/control_vector.h"

#include <gtest/gtest.h>

#include <fstream>

#include "models/io/gguf.h"
#include "models/io/safetensors.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"
#include "tests/tutorials/run_program.h"

namespace chalk {
namespace {

ControlVector some_vector(int64_t width = 8) {
  ControlVector v{{}, "llama"};
  for (int64_t j = 0; j < width; ++j) v.directions[1].push_back(random_normal(1, uint64_t(j)));
  return v;
}

TEST(ControlVector, BothFormatsKeepEveryBit) {
  const TestFolder folder;
  ControlVector v = some_vector();
  v.directions[3] = {-0.0f, 1e-38f, 3, 4, 5, 6, 7, 8};
  for (const std::string name : {"v.gguf", "v.safetensors"}) {
    write_control_vector(folder / name, v);
    const ControlVector back = read_control_vector(folder / name);
    EXPECT_EQ(back.directions, v.directions) << name;
    EXPECT_EQ(back.model_hint, "llama") << name;
  }
  v.directions[0] = v.directions[1];
  write_control_vector(folder / "v.safetensors", v);
  EXPECT_EQ(read_control_vector(folder / "v.safetensors").directions, v.directions);
  EXPECT_MENTIONS(error_text([&] { write_control_vector(folder / "v.gguf", v); }), "block 0");
  EXPECT_MENTIONS(error_text([&] { write_control_vector(folder / "v.bin", v); }), ".gguf");
  EXPECT_MENTIONS(error_text([&] { write_control_vector(folder / "v.gguf", {}); }), "no direction");
}

// Written by llama.cpp's own Python package (tests/reference/make_control_vector_fixture.py).
TEST(ControlVector, ReadsWhatTheGgufPackageWrites) {
  const ControlVector v = read_control_vector("tests/fixtures/io/control_vector.gguf");
  EXPECT_EQ(v.model_hint, "llama");
  ASSERT_EQ(v.directions.size(), 2u);
  EXPECT_EQ(v.directions.at(1), (std::vector<float>{0.5f, -1.25f, 3, 0, 1e-3f, -7, 8, 0.0625f}));
  EXPECT_EQ(v.directions.at(2), (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}));
}

// And what we write is what it writes, byte for byte.
TEST(ControlVector, WritesWhatTheGgufPackageWrites) {
  const TestFolder folder;
  write_control_vector(folder / "v.gguf", read_control_vector("tests/fixtures/io/control_vector.gguf"));
  const auto bytes = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_EQ(bytes(folder / "v.gguf"), bytes("tests/fixtures/io/control_vector.gguf"));
}

TEST(ControlVector, HostileFilesAreRefused) {
  const TestFolder folder;
  const auto gguf = [&](const std::string& architecture, const std::string& tensor, std::vector<float> values,
                        const std::vector<int64_t>& shape) {
    GgufMetadata metadata;
    metadata.set("general.architecture", GgufValue::text(architecture));
    write_gguf(folder / "bad.gguf", metadata, {{tensor, shape, GgmlType::F32, values}});
    return error_text([&] { read_control_vector(folder / "bad.gguf"); });
  };
  EXPECT_MENTIONS(gguf("llama", "direction.1", {1, 2}, {2}), "controlvector");
  EXPECT_MENTIONS(gguf("controlvector", "direction.0", {1, 2}, {2}), "block number");
  EXPECT_MENTIONS(gguf("controlvector", "direction.-1", {1, 2}, {2}), "block number");
  EXPECT_MENTIONS(gguf("controlvector", "direction.1x", {1, 2}, {2}), "block number");
  EXPECT_MENTIONS(gguf("controlvector", "direction.99999999999999999999", {1, 2}, {2}), "block number");
  EXPECT_MENTIONS(gguf("controlvector", "token_embd.weight", {1, 2}, {2}), "direction.K");
  EXPECT_MENTIONS(gguf("controlvector", "direction.1", {1, 2}, {1, 2}), "one axis");
  EXPECT_MENTIONS(gguf("controlvector", "direction.1", {1, NAN}, {2}), "not finite");
  EXPECT_MENTIONS(error_text([&] { read_control_vector(folder / "absent.gguf"); }), "absent.gguf");
  write_safetensors(folder / "empty.safetensors", {});
  EXPECT_MENTIONS(error_text([&] { read_control_vector(folder / "empty.safetensors"); }), "no direction");
  const std::vector<float> two = {1, 2}, three = {1, 2, 3};
  const auto array = [](const std::string& name, const std::vector<float>& v) {
    return ArrayView{
        name, DType::F32, {int64_t(v.size())}, {reinterpret_cast<const uint8_t*>(v.data()), v.size() * 4}};
  };
  write_safetensors(folder / "uneven.safetensors", {array("direction.1", two), array("direction.2", three)});
  EXPECT_MENTIONS(error_text([&] { read_control_vector(folder / "uneven.safetensors"); }),
                  "other directions have 2");
}

TEST(ControlVector, ModelMustFit) {
  const auto model = small_llama(Device::CPU);
  Edits edits(model->hooks);
  EXPECT_MENTIONS(error_text([&] { add_control_vector(edits, *model, some_vector(7), 1); }), "7 numbers");
  ControlVector v = some_vector();
  v.directions[2] = v.directions[1];
  EXPECT_MENTIONS(error_text([&] { add_control_vector(edits, *model, v, 1); }), "2 blocks");
  v = some_vector(), v.model_hint = "gpt2";
  EXPECT_MENTIONS(error_text([&] { add_control_vector(edits, *model, v, 1); }), "gpt2");
}

TEST(ControlVector, StrengthZeroIsThePlainModelAndOppositesCancel) {
  const auto model = small_llama(Device::CPU);
  NoGrad no_grad;
  const IntTensor ids = some_ids(2, 5);
  const Tensor plain = model->forward(ids);
  Edits edits(model->hooks);
  add_control_vector(edits, *model, some_vector(), 0);
  EXPECT_EQ(model->forward(ids).to_vector(), plain.to_vector());
  add_control_vector(edits, *model, some_vector(), 2);
  EXPECT_NE(model->forward(ids).to_vector(), plain.to_vector());
  add_control_vector(edits, *model, some_vector(), -2);
  // (x + v) − v: two roundings of numbers below 8, through one norm and a product of 8 terms
  EXPECT_TRUE(all_near(model->forward(ids), plain, 1e-4));
}

}  // namespace
}  // namespace chalk
