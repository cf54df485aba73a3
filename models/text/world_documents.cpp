// The stream of documents: kinds drawn by weight, bodies by the grammar.
#include <functional>

#include "autograd/check.h"
#include "models/text/world_grammar.h"

namespace chalk {

const std::vector<DocumentType>& world_document_types() {
  // name, weight, mean tokens, chat. The means are those of docs/world.md; a test compares.
  static const std::vector<DocumentType> types = {
      {"story", .07, 46, false}, {"agree", .02, 9, false},   {"hidden", .13, 42, false},
      {"talk", .06, 32, false},  {"feel", .03, 11, false},   {"goal", .02, 11, false},
      {"arith", .07, 27, false}, {"echo", .03, 15, false},   {"code", .15, 38, false},
      {"check", .09, 36, false}, {"persona", .07, 40, true}, {"qa", .08, 23, true},
      {"judge", .06, 19, true},  {"request", .12, 22, true}, {"style", .03, 29, true},
      {"turns", .03, 52, true},
  };
  return types;
}

namespace {

Words types_where(bool chat) {
  Words names;
  for (const DocumentType& type : world_document_types())
    if (type.chat == chat) names.push_back(type.name);
  return names;
}

std::string body(const std::string& type, const World& world, SplitMix64& random,
                 const DocumentOptions& options) {
  if (type == "story") return grammar::story(1 + int(random.below(4)), random, options.mark_story_object);
  if (type == "agree") return grammar::agreement(random);
  if (type == "hidden") return grammar::hidden(world, random);
  if (type == "talk") return grammar::talk(world, random);
  if (type == "feel") return grammar::feeling(random);
  if (type == "goal") return grammar::goal(random);
  if (type == "arith") return grammar::arithmetic(random);
  if (type == "echo") return grammar::echo(random);
  if (type == "code") return grammar::code(random);
  if (type == "check") return grammar::check(world, random);
  if (type == "persona") return grammar::persona(world, random);
  if (type == "qa") return grammar::question(world, random);
  if (type == "judge") return grammar::judge(world, random);
  if (type == "request") return grammar::request(random, options.mark_class_word);
  if (type == "style") return grammar::style(random);
  return grammar::turns(world, random);
}

// The weights of world_document_types(), zero for the types that were not asked for.
std::vector<double> type_weights(const Words& wanted) {
  std::vector<double> weights;
  for (const DocumentType& type : world_document_types())
    weights.push_back(wanted.empty() ? type.weight : 0.0);
  for (const std::string& name : wanted) {
    bool found = false;
    for (size_t i = 0; i < weights.size(); i++) {
      if (world_document_types()[i].name != name) continue;
      weights[i] = world_document_types()[i].weight;
      found = true;
    }
    if (!found) throw UsageError(fmt::format("world: no document type is called '{}'", name));
  }
  return weights;
}

}  // namespace

Words world_base_types() {
  return types_where(false);
}
Words world_chat_types() {
  return types_where(true);
}

Document make_document(const std::string& type, const std::string& marked_body) {
  Document document{type, {"<bos>"}, {false}};
  for (const std::string& word : split_words(marked_body)) {
    const bool marked = word[0] == '~';
    document.words.push_back(marked ? word.substr(1) : word);
    document.answer.push_back(marked);
  }
  document.words.push_back("<eos>");
  document.answer.push_back(false);
  return document;
}

std::vector<Document> world_documents(const World& world, int64_t count, uint64_t seed,
                                      const DocumentOptions& options) {
  if (count < 0)
    throw UsageError(fmt::format("world: {} documents were asked for; 0 or more make sense", count));
  const std::vector<double> weights = type_weights(options.types);
  SplitMix64 random(seed);
  std::vector<Document> documents;
  for (int64_t i = 0; i < count; i++) {
    const std::string& type = world_document_types()[random.weighted(weights)].name;
    documents.push_back(make_document(type, body(type, world, random, options)));
  }
  return documents;
}

}  // namespace chalk
