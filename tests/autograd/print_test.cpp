// Tensors and graphs as text.
#include "autograd/print.h"

#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/expect.h"

namespace chalk {
namespace {

TEST(Print, ShapeDeviceStatisticsAndRows) {
  Tensor t = Tensor::from({2, 2}, {1, -2, 3.5f, 4}, Device::Plain);
  EXPECT_EQ(to_text(t),
            "Tensor (2, 2) on plain, min -2 mean 1.625 max 4\n"
            "            1         -2\n"
            "          3.5          4\n");
  t.set_requires_grad();
  EXPECT_MENTIONS(to_text(t), "requires grad");
}

TEST(Print, LongTensorsAreCut) {
  const std::string text = to_text(Tensor({10, 20}), 2, 3);
  EXPECT_MENTIONS(text, " ...\n");
  EXPECT_MENTIONS(text, "... 8 more rows\n");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
}

TEST(Print, NumbersThatAreNotNumbersAreCounted) {
  const Tensor t = Tensor::from({3}, {1, NAN, INFINITY});
  EXPECT_MENTIONS(to_text(t), "min 1 mean 1 max 1, 2 NOT FINITE");
  EXPECT_MENTIONS(to_text(Tensor::from({1}, {NAN})), "1 NOT FINITE");
  EXPECT_EQ(to_text(Tensor::from({1}, {NAN})).find("inf"), std::string::npos);
}

TEST(Print, OddTensors) {
  EXPECT_EQ(to_text(Tensor()), "Tensor (undefined)\n");
  EXPECT_EQ(to_text(Tensor({0})), "Tensor (0) on cpu\n");
  EXPECT_MENTIONS(to_text(Tensor::full({}, 7)), "Tensor () on cpu, min 7 mean 7 max 7");
}

TEST(Print, GraphAsDot) {
  Tensor x = Tensor::full({2, 3}, 1, Device::Plain), w = Tensor::full({4, 3}, 1, Device::Plain);
  w.set_requires_grad();
  const Tensor y = relu(linear(x, w));
  EXPECT_EQ(graph_dot(sum(mul(y, y))),
            "digraph graph_of_ops {\n"
            "  rankdir=BT; node [fontname=\"DejaVu Sans\", fontsize=10];\n"
            "  n0 [shape=box, label=\"sum\\n()\"];\n"
            "  n1 [shape=box, label=\"mul\\n(2, 4)\"];\n"
            "  n2 [shape=box, label=\"relu\\n(2, 4)\"];\n"
            "  n3 [shape=box, label=\"linear\\n(2, 4)\"];\n"
            "  n4 [shape=ellipse, label=\"leaf\\n(4, 3)\"];\n"
            "  n4 -> n3;\n"
            "  n3 -> n2;\n"
            "  n2 -> n1;\n"
            "  n2 -> n1;\n"
            "  n1 -> n0;\n"
            "}\n");
  EXPECT_EQ(graph_dot(x),
            "digraph graph_of_ops {\n  rankdir=BT; node [fontname=\"DejaVu Sans\", fontsize=10];\n}\n");
}

}  // namespace
}  // namespace chalk
