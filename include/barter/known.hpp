// A value that was read, or the reason why it could not be.
//
// Topologies come from places that tell more or less: an lspci run without root shows no ACS, an hwloc file never does, a
// dump of 64 bytes ends before the first capability. A fact that could not be read must not look like a fact that was
// read as zero, so every such fact is a Known<T>.
//
//   if (!function.acs) fmt::print("ACS unknown: {}\n", function.acs.why_unknown());
#pragma once
#include <string>
#include <utility>
#include <variant>

namespace barter {

struct Unknown {
  std::string why = "not read";
  friend bool operator==(const Unknown&, const Unknown&) = default;
};

template <class T>
class Known {
 public:
  Known() = default;
  Known(Unknown unknown) : state_(std::move(unknown)) {}
  Known(T value) : state_(std::move(value)) {}

  [[nodiscard]] bool has_value() const { return state_.index() == 1; }
  explicit operator bool() const { return has_value(); }
  // Only when has_value().
  const T& operator*() const { return std::get<1>(state_); }
  const T* operator->() const { return &std::get<1>(state_); }
  T& operator*() { return std::get<1>(state_); }
  T* operator->() { return &std::get<1>(state_); }
  [[nodiscard]] T value_or(const T& other) const { return has_value() ? std::get<1>(state_) : other; }
  // Only when !has_value().
  [[nodiscard]] const std::string& why_unknown() const { return std::get<0>(state_).why; }

  friend bool operator==(const Known&, const Known&) = default;

 private:
  std::variant<Unknown, T> state_;
};

}  // namespace barter
