// Reading one table of a machine description, strictly. The first thing that is wrong is kept and everything after it
// gives defaults, so that the code that reads a table is a list of its keys.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <toml++/toml.h>

#include "barter/result.hpp"
#include "topology/description.h"

namespace barter::topology {

// Where all tables of one description put what is wrong.
class DescriptionErrors {
 public:
  explicit DescriptionErrors(std::string_view source) : source_(source) {}
  // `line` 0: the text as a whole.
  void report(std::uint64_t line, std::string why, std::string cure = {});
  [[nodiscard]] const std::optional<Error>& first() const { return first_; }

 private:
  std::string source_;
  std::optional<Error> first_;
};

// One table. The table and the errors must outlive the reader.
class TableReader {
 public:
  // Refuses keys that are not among `keys`. `what` is for messages: "[[drive]]".
  TableReader(DescriptionErrors& errors, const toml::table& table, std::string_view what,
              std::initializer_list<std::string_view> keys);

  [[nodiscard]] std::uint64_t line() const;
  [[nodiscard]] bool has(std::string_view key) const { return table_.contains(key); }
  void report(std::string_view key, std::string why, std::string cure = {});

  // A name that other tables refer to. Must be there.
  [[nodiscard]] std::string name(std::string_view key);
  // A list of so many such names; empty, and reported, where it is none.
  [[nodiscard]] std::vector<std::string> names(std::string_view key, std::size_t count);
  [[nodiscard]] std::string text(std::string_view key, std::string_view otherwise = {});
  [[nodiscard]] bool flag(std::string_view key, bool otherwise);
  [[nodiscard]] std::uint64_t integer(std::string_view key, std::uint64_t otherwise, std::uint64_t least,
                                      std::uint64_t most);
  // Bytes: an integer or a text such as "64 MiB".
  [[nodiscard]] std::uint64_t size(std::string_view key, std::uint64_t otherwise, std::uint64_t least,
                                   std::uint64_t most);
  // "8086:2020", both parts hexadecimal.
  struct Ids {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
  };
  [[nodiscard]] Ids ids(std::string_view key, Ids otherwise);
  // "16 GT/s x4"
  [[nodiscard]] std::optional<LinkState> link(std::string_view key);
  [[nodiscard]] LinkDescription links(std::string_view max_key, std::string_view now_key, LinkDescription otherwise);
  [[nodiscard]] std::optional<AcsDescription> acs(std::string_view key);
  // The tables of an array of tables; one table also counts as such an array.
  [[nodiscard]] std::vector<const toml::table*> tables(std::string_view key, std::size_t most);

  [[nodiscard]] DescriptionErrors& errors() { return errors_; }

 private:
  [[nodiscard]] std::uint64_t line_of(std::string_view key) const;
  std::uint16_t acs_bits(const toml::node* list, std::string_view key);
  std::vector<std::uint32_t> port_set(const toml::node* list, std::string_view key);
  std::optional<AcsDescription> acs_table(const toml::table& table, std::string_view key);

  DescriptionErrors& errors_;
  const toml::table& table_;
  std::string what_;
};

// Bytes as people write them: "64 MiB", "4KiB", "512". Nothing if the text is no size or does not fit 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);
// "16 GT/s x4". Nothing if the text is no such link or PCIe has no such speed or width.
[[nodiscard]] std::optional<LinkState> parse_link(std::string_view text);
// The word that `typed` was probably meant to be, or an empty view.
[[nodiscard]] std::string_view nearest_word(std::string_view typed, std::initializer_list<std::string_view> words);

}  // namespace barter::topology
