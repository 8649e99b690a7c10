// Typed registers: one register is one type that carries its offset, width and access, and a field names its register, so
// that it can never be applied to another one. Bits are written as the specifications print them, high first, inclusive.
//
//   // NVM Express base 2.0, section 3.1.3.5.
//   struct Configuration : base::Register<Configuration, 0x14, std::uint32_t> {
//     static constexpr Bits<23, 20> completion_entry_log2{};
//     static constexpr Bit<0> enable{};
//   };
//   auto configuration = Configuration{}.with(Configuration::enable, true);
//   if (configuration.get(Configuration::enable)) ...
//
// A register is a value, a snapshot: reading the device makes one and writing the device takes one. How a snapshot gets to
// and from the device is the business of whoever holds the bus (pci::Mmio in drivers, a switch on the offset in models).
#pragma once
#include <cassert>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace barter::base {

enum class RegisterAccess : std::uint8_t { read_only, read_write, write_one_to_clear };

template <class R, unsigned kHigh, unsigned kLow, class V>
struct Field {
  static_assert(kHigh >= kLow, "a field is written high bit first");
  // R is incomplete where a field is declared; this runs when the field is first used.
  template <class Word>
  static constexpr Word mask() {
    static_assert(kHigh < sizeof(Word) * 8, "the field does not fit its register");
    constexpr unsigned kWidth = kHigh - kLow + 1;
    if constexpr (kWidth == sizeof(Word) * 8) {
      return static_cast<Word>(~Word{0});
    } else {
      return static_cast<Word>(((Word{1} << kWidth) - 1) << kLow);
    }
  }
};

template <class Self, std::uint32_t kAt, std::unsigned_integral WordType,
          RegisterAccess kMode = RegisterAccess::read_write>
struct Register {
  using Word = WordType;
  static constexpr std::uint32_t kOffset = kAt;
  static constexpr RegisterAccess kAccess = kMode;
  static_assert(kAt % sizeof(Word) == 0, "a register is naturally aligned");

  template <unsigned kHigh, unsigned kLow, class V = WordType>
  using Bits = Field<Self, kHigh, kLow, V>;
  template <unsigned kBit>
  using Bit = Field<Self, kBit, kBit, bool>;

  Word raw = 0;

  [[nodiscard]] static constexpr Self from(Word value) {
    Self snapshot;
    snapshot.raw = value;
    return snapshot;
  }
  template <unsigned kHigh, unsigned kLow, class V>
  [[nodiscard]] constexpr V get(Field<Self, kHigh, kLow, V>) const {
    using F = Field<Self, kHigh, kLow, V>;
    return static_cast<V>((raw & F::template mask<Word>()) >> kLow);
  }
  // The same snapshot with this field changed. The value fits the field: that is the caller's business.
  template <unsigned kHigh, unsigned kLow, class V>
  [[nodiscard]] constexpr Self with(Field<Self, kHigh, kLow, V>, std::type_identity_t<V> value) const {
    using F = Field<Self, kHigh, kLow, V>;
    const auto bits = static_cast<std::uint64_t>(value);
    assert(bits <= std::uint64_t{static_cast<Word>(F::template mask<Word>() >> kLow)});
    return from(static_cast<Word>((raw & ~F::template mask<Word>()) | static_cast<Word>(bits << kLow)));
  }
  friend constexpr bool operator==(const Self& left, const Self& right) { return left.raw == right.raw; }
};

}  // namespace barter::base
