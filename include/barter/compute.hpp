// What an accelerator computes, on memory by ordinary pointers: managed memory (managed.hpp), and device memory that the CPU
// sees (Region::cpu_bytes), of any device that the accelerator reaches.
//
//   auto memory = barter::ManagedMemory::create(*machine, 64_MiB);
//   auto words = barter::words_of(memory->bytes());        // the program's own pointer; fill it as ever
//   auto total = barter::compute::sum(gpu, words);          // the accelerator goes by the same addresses
//   words[0] += 1;                                          // a touch brings that page back
//
// The accelerator's page tables show it the memory where the program has it. By Placement::follow managed pages move into
// its memory when it uses them, as they come back when the CPU does; by Placement::stay it reaches them where they are: in
// host memory, in its own, or in another device's, as far as their owner and the machine allow, and else in host memory.
//
// Each call waits until the accelerator has answered. Touches, moves and revocations don't wait for it: a page that is gone when the
// accelerator comes to it is asked for, shown where it is by then, and the work goes on. What is not to be had any more is an error,
// ErrorCode::revoked or whatever keeps the page away, and what was written until then is undefined.
//
// Threads: one at a time uses an accelerator; others may touch the memory, move it and take it back meanwhile. What a
// computation makes of bytes that change under it is undefined for those bytes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <barter/machine.hpp>
#include <barter/result.hpp>
#include <barter/units.hpp>

namespace barter {

// Where managed pages go when a device uses them.
enum class Placement : std::uint8_t {
  follow,  // to the device that uses them; they stay where they are if its memory is full, or they are pinned
  stay,    // nowhere
};

// The whole words in these bytes. They must begin at a multiple of the size of a word, as managed memory does.
template <class Word>
[[nodiscard]] std::span<Word> words_of(std::span<std::byte> bytes) {
  return {reinterpret_cast<Word*>(bytes.data()), bytes.size() / sizeof(Word)};
}

namespace compute {

struct Options {
  Placement placement = Placement::follow;
  Duration deadline =
      std::chrono::seconds(10);  // for pages to move and be shown, each time they are; not for the computing
};

// Ranges of one call may be the same or share pages; `copy` and `filter` don't write over what they read, and `add` over all
// of one of its sources or nothing of it.
[[nodiscard]] Result<void> copy(const Accelerator& accelerator, std::span<const std::byte> from,
                                std::span<std::byte> into, Options options = {});
[[nodiscard]] Result<void> fill(const Accelerator& accelerator, std::span<std::uint64_t> into, std::uint64_t word,
                                Options options = {});
// into[i] = one[i] + other[i], modulo 2^32. All have the same size.
[[nodiscard]] Result<void> add(const Accelerator& accelerator, std::span<const std::uint32_t> one,
                               std::span<const std::uint32_t> other, std::span<std::uint32_t> into,
                               Options options = {});
// Modulo 2^64.
[[nodiscard]] Result<std::uint64_t> sum(const Accelerator& accelerator, std::span<const std::uint32_t> words,
                                        Options options = {});
// How often each value occurs.
[[nodiscard]] Result<void> histogram(const Accelerator& accelerator, std::span<const std::byte> bytes,
                                     std::span<std::uint64_t, 256> into, Options options = {});
// XXH64.
[[nodiscard]] Result<std::uint64_t> checksum(const Accelerator& accelerator, std::span<const std::byte> bytes,
                                             std::uint64_t seed = 0, Options options = {});

// A picture of bytes, row after row, at most 16384 wide.
struct Picture {
  std::span<const std::byte> pixels;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};
// (The sum of weight * pixel around each pixel) >> shift, clamped to 0..255; at the edge the nearest pixel counts. The weights
// are the 3 x 3 around a pixel, row after row, and are memory that the accelerator reads, as the pixels are.
struct Filter {
  std::span<const std::int16_t, 9> weights;
  std::uint32_t shift = 0;  // 0 to 15
};
[[nodiscard]] Result<void> filter(const Accelerator& accelerator, Picture picture, Filter with,
                                  std::span<std::byte> into, Options options = {});

}  // namespace compute
}  // namespace barter
