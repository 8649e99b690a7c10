// Memory by an ordinary pointer, registered for one device's DMA: what ibv_reg_mr(3) is for a NIC's.
//
//   auto registered = barter::register_memory(engine, memory->bytes(), {.access = barter::Access::read});
//   while (...) {
//     auto leases = registered->lease();          // maps anew what was taken back or has moved
//     barter::move_bytes(engine, *leases, *other_leases);
//   }
//
// The pointer may be to device memory that a region shows (Region::cpu_bytes), to managed memory, and to any mixture of them; what it
// points to is looked up, and the owner of each part is asked. Ordinary memory of the program, no device can be shown: read and write
// (io.hpp), and NICs (nic.hpp), take it by way of a buffer. An accelerator needs no registration: it computes on pointers (compute.hpp).
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <barter/machine.hpp>
#include <barter/managed.hpp>
#include <barter/memory.hpp>
#include <barter/result.hpp>

namespace barter {

namespace peer {
struct MappingId;
}  // namespace peer

struct RegisterOptions {
  Access access = Access::read_write;
  // `pinned`: it stays where it is for as long as it is registered; managed pages move to host memory first. `dynamic`: its owners
  // may take it back at any time, and what is only moved is mapped anew by the next lease().
  Hold hold = Hold::dynamic;
  // Map even where a fact that decides the route could not be read.
  bool allow_unknown_route = false;
  // How long pages that move are waited for, in each call.
  Duration deadline = std::chrono::seconds(10);
};

// Handles of a machine; one thread at a time.
class Registration {
 public:
  Registration(Registration&&) noexcept = default;
  Registration& operator=(Registration&&) noexcept = default;
  // Unmaps. Leases end before.
  ~Registration() = default;

  [[nodiscard]] std::span<const std::byte> memory() const { return memory_; }
  [[nodiscard]] Bdf importer() const;
  // Where it lay when it was last mapped, in order; `range` is within memory().
  [[nodiscard]] std::vector<Residence> where() const;

  // Holds all of it, in order, for one transfer. ErrorCode::revoked where its owner has taken it back for good, or has taken back what
  // was promised to stay; timed_out where its pages moved again and again; else the error of whoever said no.
  [[nodiscard]] Result<std::vector<Lease>> lease();
  // Has something been taken back or moved since it was last mapped? Then a lease maps it anew.
  [[nodiscard]] bool is_stale() const;

  // For the library's own rooms. Those that are mapped now.
  [[nodiscard]] std::vector<peer::MappingId> mappings() const;
  [[nodiscard]] static Result<Registration> create(std::shared_ptr<machine::State> machine, machine::DriveUnit& unit,
                                                   std::span<std::byte> memory, RegisterOptions options);

 private:
  // What one owner has of it: mapped as one, in parts. Owners are known by themselves: another one may get the same addresses.
  struct Piece {
    MemoryRange range;  // within memory()
    std::weak_ptr<peer::RegionState> region;
    std::weak_ptr<peer::ManagedPages> managed;  // one of the two
    std::uint64_t offset = 0;                   // of what the owner has
    std::vector<ManagedPart> parts;
    [[nodiscard]] bool is_stale() const;
  };
  Registration(std::shared_ptr<machine::State> machine, machine::DriveUnit& unit, std::span<std::byte> memory,
               RegisterOptions options)
      : machine_(std::move(machine)), unit_(&unit), memory_(memory), options_(options) {}
  [[nodiscard]] Error refusal(ErrorCode code, std::string why, std::string cure = {}) const;
  // False: not at this moment.
  [[nodiscard]] Result<bool> map_all();
  [[nodiscard]] Result<bool> map(Piece& piece);
  [[nodiscard]] Result<std::vector<Lease>> try_lease();

  std::shared_ptr<machine::State> machine_;
  machine::DriveUnit* unit_;
  std::span<std::byte> memory_;
  RegisterOptions options_;
  std::vector<Piece> pieces_;
};

// Nothing is mapped after an error. ErrorCode::unsupported for ordinary memory of the program.
[[nodiscard]] Result<Registration> register_memory(const DmaEngine& importer, std::span<std::byte> memory,
                                                   RegisterOptions options = {});
[[nodiscard]] Result<Registration> register_memory(const Drive& importer, std::span<std::byte> memory,
                                                   RegisterOptions options = {});

}  // namespace barter
