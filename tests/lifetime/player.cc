// A process for the lifetime tests: it does what it is told over a socket, one line at a time, and answers with one line. What
// it is told may come with a descriptor, and so may the answer.
//
// It is a user of the library: it sees the public headers, and of the rooms only the socket that it is told things over.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "barter/barter.hpp"
#include "barter/sharing.hpp"
#include "linux/sharing/channel.h"
#include "pattern.h"

namespace {

using namespace std::chrono_literals;
using barter::linux_os::Descriptor;
using barter::linux_os::sharing::Channel;
using barter::linux_os::sharing::Packet;
using barter::linux_os::sharing::Watch;

struct Reply {
  std::string text = "ok";
  int descriptor = -1;
};

std::string words(const barter::Error& error) {
  return "error " + std::string(name_of(error.code)) + " " + error.message();
}
template <class T>
Reply say(const barter::Result<T>& result) {
  return {result ? "ok" : words(result.error())};
}
Reply say(const barter::Result<barter::RevokeReport>& report) {
  if (!report) return {words(report.error())};
  return {"ok " + std::to_string(report->mappings) + " late " + std::to_string(report->late.size())};
}

// Told by a callback, waited for by the next command.
class News {
 public:
  void tell() {
    const std::lock_guard lock(mutex_);
    told_ = true;
    changed_.notify_all();
  }
  bool came() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 30s, [&] { return told_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool told_ = false;
};

// What an owner was told to be gone.
class Ends {
 public:
  void add(const barter::Request& granted) {
    const std::lock_guard lock(mutex_);
    ++count_;
    bytes_ += granted.range.bytes;
    if (granted.hold == barter::Hold::pinned) pinned_bytes_ += granted.range.bytes;
    changed_.notify_all();
  }
  bool came(std::uint64_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 30s, [&] { return count_ >= count; });
  }
  std::string say() {
    const std::lock_guard lock(mutex_);
    return std::to_string(count_) + " of " + std::to_string(bytes_) + " pinned " + std::to_string(pinned_bytes_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t count_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t pinned_bytes_ = 0;
};

class Player {
 public:
  Reply play(const std::string& line, Descriptor descriptor) {
    std::istringstream in(line);
    std::string verb;
    in >> verb;
    const auto command = commands_.find(verb);
    if (command == commands_.end()) return {"error unknown command " + verb};
    return command->second(in, std::move(descriptor));
  }

 private:
  static std::string word(std::istringstream& in) {
    std::string text;
    in >> text;
    return text;
  }
  static std::uint64_t number(std::istringstream& in) {
    std::uint64_t value = 0;
    in >> value;
    return value;
  }

  Reply connect(std::istringstream& in) {
    auto connected = barter::SharedMachine::connect(word(in));
    if (!connected) return {words(connected.error())};
    machine_.emplace(std::move(*connected));
    return {"ok " + machine_->name()};
  }
  Reply allocate(std::istringstream& in) {
    const std::string name = word(in), provider = word(in);
    auto region = machine_->allocate(provider, number(in));
    if (!region) return {words(region.error())};
    const std::string where = "ok " + std::to_string(region->range().offset);
    regions_.insert_or_assign(name, std::move(*region));
    return {where};
  }
  Reply keep(std::istringstream& in, Descriptor descriptor) {
    descriptors_.insert_or_assign(word(in), barter::RegionDescriptor(std::move(descriptor).release()));
    return {};
  }
  // REGION DRIVE [ACCESS [HOLD [OFFSET [BYTES]]]]
  struct Wanted {
    const barter::RegionDescriptor* region = nullptr;
    std::string drive;
    barter::MapOptions options;
  };
  Wanted wanted(std::istringstream& in) {
    const std::string region = word(in), drive = word(in), access = word(in), hold = word(in);
    const auto own = regions_.find(region);
    Wanted all{.region = own != regions_.end() ? &own->second.descriptor() : &descriptors_.at(region),
               .drive = drive,
               .options = {.access = access == "read"    ? barter::Access::read
                                     : access == "write" ? barter::Access::write
                                                         : barter::Access::read_write,
                           .hold = hold == "pinned" ? barter::Hold::pinned : barter::Hold::dynamic}};
    all.options.offset = number(in);
    all.options.bytes = number(in);
    return all;
  }
  void keep_mapping(const std::string& name, barter::SharedMapping mapping) {
    const auto news = news_[name] = std::make_shared<News>();
    mapping.on_invalidate([news] { news->tell(); });
    mappings_.insert_or_assign(name, std::move(mapping));
  }
  Reply map(std::istringstream& in) {
    const std::string name = word(in);
    const Wanted what = wanted(in);
    auto mapping = machine_->map(*what.region, what.drive, what.options);
    if (!mapping) return {words(mapping.error())};
    const std::string route(name_of(mapping->route()));
    const std::string pinned = mapping->hold() == barter::Hold::pinned ? " pinned" : "";
    keep_mapping(name, std::move(*mapping));
    return {"ok " + route + pinned};
  }
  // The parts are then named NAME0, NAME1 and so on, where they are mapped.
  Reply map_parts(std::istringstream& in) {
    const std::string name = word(in);
    const Wanted what = wanted(in);
    auto parts = machine_->map_parts(*what.region, what.drive, what.options);
    if (!parts) return {words(parts.error())};
    std::string said = "ok";
    for (std::size_t index = 0; index < parts->size() && index < 8; ++index) {
      barter::SharedPart& part = (*parts)[index];
      said += part.mapping ? " direct " : " no (" + part.answer.reason + ") ";
      said += std::to_string(part.range.bytes);
      if (part.mapping) keep_mapping(name + std::to_string(index), std::move(*part.mapping));
    }
    return {said};
  }
  // Many of the same: mappings of a region, leases of a mapping.
  Reply map_many(std::istringstream& in) {
    const std::string name = word(in);
    const std::uint64_t count = number(in);
    const Wanted what = wanted(in);
    for (std::uint64_t index = 0; index < count; ++index) {
      auto mapping = machine_->map(*what.region, what.drive, what.options);
      if (!mapping) return {words(mapping.error())};
      many_[name].push_back(std::move(*mapping));
    }
    return {};
  }
  Reply many_told(std::istringstream& in) {
    for (barter::SharedMapping& mapping : many_.at(word(in))) {
      const auto news = std::make_shared<News>();
      mapping.on_invalidate([news] { news->tell(); });
      if (!news->came()) return {"error one was not told"};
    }
    return {machine_->is_connected() ? "ok" : "error the connection has ended"};
  }
  Reply lease_many(std::istringstream& in) {
    const barter::SharedMapping& mapping = mappings_.at(word(in));
    std::vector<barter::SharedLease> leases;
    for (std::uint64_t count = number(in); count > 0; --count) {
      auto lease = mapping.lease();
      if (!lease) return {words(lease.error())};
      leases.push_back(std::move(*lease));
    }
    leases.clear();
    return {machine_->is_connected() ? "ok" : "error the connection has ended"};
  }
  Reply limit_pins(std::istringstream& in) {
    barter::SharedRegion& region = regions_.at(word(in));
    std::uint64_t bytes = 0;
    return say(region.limit_pins(in >> bytes ? std::optional(bytes) : std::nullopt));
  }
  // Counts from now on what it is told to be gone of what it granted.
  Reply watch(std::istringstream& in) {
    const std::string name = word(in);
    const auto ends = ends_[name] = std::make_shared<Ends>();
    regions_.at(name).on_unmap([ends](const barter::Request& granted) { ends->add(granted); });
    return {};
  }
  // How many ends were told by now, their bytes, and those of them that were pinned.
  Reply ended(std::istringstream& in) { return {ends_.at(word(in))->say()}; }
  Reply await_ends(std::istringstream& in) {
    Ends& ends = *ends_.at(word(in));
    return {ends.came(number(in)) ? ends.say() : "error only " + ends.say()};
  }
  Reply lease(std::istringstream& in) {
    const std::string name = word(in);
    auto lease = mappings_.at(word(in)).lease();
    if (!lease) return {words(lease.error())};
    leases_.insert_or_assign(name, std::move(*lease));
    return {};
  }
  // Lets go of its lease as soon as it is told, on the connection's own thread.
  Reply obey(std::istringstream& in) {
    const std::string mapping = word(in);
    auto lease = mappings_.at(mapping).lease();
    if (!lease) return {words(lease.error())};
    const auto held = std::make_shared<std::optional<barter::SharedLease>>(std::move(*lease));
    mappings_.at(mapping).on_invalidate([held, news = news_.at(mapping)] {
      held->reset();
      news->tell();
    });
    return {};
  }
  Reply drop(std::istringstream& in) {
    const std::string name = word(in);
    leases_.erase(name);
    mappings_.erase(name);
    many_.erase(name);
    regions_.erase(name);
    descriptors_.erase(name);
    if (name == "machine") machine_.reset();
    return {};
  }
  Reply move(std::istringstream& in, bool to_drive) {
    const barter::SharedMapping& mapping = mappings_.at(word(in));
    barter::DrivePart part;
    part.offset = number(in);
    part.bytes = number(in);
    part.memory_offset = number(in);
    return say(to_drive ? mapping.write(part) : mapping.read(part));
  }
  // Until something goes wrong. Says how often it went right.
  Reply read_again_and_again(std::istringstream& in) {
    const barter::SharedMapping& mapping = mappings_.at(word(in));
    for (std::uint64_t count = 0; count < 1000000; ++count)
      if (const auto read = mapping.read({}); !read) return {std::to_string(count) + " " + words(read.error())};
    return {"error it went on and on"};
  }
  Reply fill(std::istringstream& in) {
    barter::SharedRegion& region = regions_.at(word(in));
    return say(region.store(0, barter::lifetime::pattern(region.size_bytes(), number(in))));
  }
  Reply check(std::istringstream& in) {
    const barter::SharedRegion& region = regions_.at(word(in));
    std::vector<std::byte> found(region.size_bytes());
    if (const auto loaded = region.load(0, found); !loaded) return {words(loaded.error())};
    return {found == barter::lifetime::pattern(found.size(), number(in)) ? "ok" : "error the bytes are others"};
  }
  Reply take_back(std::istringstream& in, bool for_good) {
    barter::SharedRegion& region = regions_.at(word(in));
    const barter::RevokeOptions options{.deadline = std::chrono::milliseconds(number(in))};
    return say(for_good ? region.revoke(options) : region.invalidate(options));
  }
  Reply consent(std::istringstream& in) {
    barter::SharedRegion& region = regions_.at(word(in));
    const std::string kind = word(in);
    std::string reason;
    std::getline(in >> std::ws, reason);
    region.on_request([kind, reason, start = region.range().offset,
                       news = news_["asked"] = std::make_shared<News>()](const barter::Request& request) {
      using barter::Answer;
      news->tell();
      if (kind == "never") std::promise<void>().get_future().wait();
      if (kind == "host") return Answer::by_way_of_host(reason);
      if (kind == "reads" && request.access == barter::Access::read) return Answer::direct();
      if (kind == "unpinned" && request.hold == barter::Hold::dynamic) return Answer::direct();
      // The first 16 KiB of the region to everyone, and the rest to nobody.
      if (kind == "first" && request.range.offset < start + 16384)
        return Answer::direct().for_first(start + 16384 - request.range.offset);
      if (kind == "pages") return Answer::direct().for_first(4096);
      if (kind == "bytes") return Answer::direct().for_first(100);
      if (kind == "slow-pages") {
        std::promise<void> never;
        static_cast<void>(never.get_future().wait_for(300ms));
        return Answer::direct().for_first(4096);
      }
      return kind == "direct" ? Answer::direct() : Answer::refuse(reason);
    });
    return {};
  }
  Reply told(std::istringstream& in) {
    const std::string name = word(in);
    if (!news_.at(name)->came()) return {"error no news came"};
    if (const auto mapping = mappings_.find(name); mapping != mappings_.end() && !mapping->second.is_revoked())
      return {"error it was told, and the mapping does not know"};
    return {};
  }

  // What a child of this process can do with its handles: nothing. It says so by its exit status, bit by bit.
  Reply fork_and_use(std::istringstream& in) {
    const std::string region = word(in), mapping = word(in);
    const pid_t child = fork();
    if (child == 0) {
      int could = 0;
      const auto refused = [](const auto& result) {
        return !result && result.error().code == barter::ErrorCode::refused;
      };
      if (!refused(machine_->allocate("nvme0", 4096))) could |= 1;
      if (!refused(machine_->map(regions_.at(region).descriptor(), "nvme1"))) could |= 2;
      std::array<std::byte, 16> bytes{};
      if (!refused(regions_.at(region).load(0, bytes))) could |= 4;
      if (const auto held = mappings_.find(mapping); held != mappings_.end()) {
        if (!refused(held->second.lease())) could |= 8;
        if (!refused(held->second.read({})) || !held->second.is_revoked()) could |= 16;
      }
      // Handles that go with the child are the parent's, and stay.
      mappings_.clear();
      regions_.clear();
      machine_.reset();
      _exit(could);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return {status == 0 ? "ok" : "error the child could: " + std::to_string(status >> 8)};
  }
  // A child that lives on, with everything that it has inherited, when this process is killed.
  Reply fork_and_stay() {
    const pid_t child = fork();
    if (child == 0) {
      std::promise<void>().get_future().wait();
      _exit(0);
    }
    return {"ok " + std::to_string(child)};
  }

  // Bytes of another process's making, over a socket that it has handed over.
  Reply post(std::istringstream& in, Descriptor socket) {
    std::vector<std::byte> bytes;
    for (std::string hex; in >> hex;) bytes.push_back(static_cast<std::byte>(std::stoul(hex, nullptr, 16)));
    return say(Channel(std::move(socket)).send(bytes));
  }

  Reply serve(std::istringstream& in) {
    const std::string name = word(in);
    auto machine = barter::Machine::open(name, {.threaded = true});
    if (!machine) return {words(machine.error())};
    auto broker = barter::Broker::open(*machine, word(in));
    if (!broker) return {words(broker.error())};
    broker_.emplace(std::move(*broker));
    return {};
  }

  using Command = std::function<Reply(std::istringstream&, Descriptor)>;
  const std::map<std::string, Command> commands_ = {
      {"connect", [this](auto& in, Descriptor) { return connect(in); }},
      {"connected?", [this](auto&, Descriptor) { return Reply{machine_->is_connected() ? "yes" : "no"}; }},
      {"allocate", [this](auto& in, Descriptor) { return allocate(in); }},
      {"descriptor", [this](auto& in, Descriptor) { return Reply{"ok", regions_.at(word(in)).descriptor().number()}; }},
      {"keep", [this](auto& in, Descriptor descriptor) { return keep(in, std::move(descriptor)); }},
      {"map", [this](auto& in, Descriptor) { return map(in); }},
      {"map-parts", [this](auto& in, Descriptor) { return map_parts(in); }},
      {"map-many", [this](auto& in, Descriptor) { return map_many(in); }},
      {"many-told", [this](auto& in, Descriptor) { return many_told(in); }},
      {"lease-many", [this](auto& in, Descriptor) { return lease_many(in); }},
      {"limit-pins", [this](auto& in, Descriptor) { return limit_pins(in); }},
      {"watch", [this](auto& in, Descriptor) { return watch(in); }},
      {"ended", [this](auto& in, Descriptor) { return ended(in); }},
      {"await-ends", [this](auto& in, Descriptor) { return await_ends(in); }},
      {"lease", [this](auto& in, Descriptor) { return lease(in); }},
      {"obey", [this](auto& in, Descriptor) { return obey(in); }},
      {"drop", [this](auto& in, Descriptor) { return drop(in); }},
      {"read", [this](auto& in, Descriptor) { return move(in, false); }},
      {"write", [this](auto& in, Descriptor) { return move(in, true); }},
      {"read-on", [this](auto& in, Descriptor) { return read_again_and_again(in); }},
      {"fill", [this](auto& in, Descriptor) { return fill(in); }},
      {"check", [this](auto& in, Descriptor) { return check(in); }},
      {"revoke", [this](auto& in, Descriptor) { return take_back(in, true); }},
      {"invalidate", [this](auto& in, Descriptor) { return take_back(in, false); }},
      {"consent", [this](auto& in, Descriptor) { return consent(in); }},
      {"told", [this](auto& in, Descriptor) { return told(in); }},
      {"fork-and-use", [this](auto& in, Descriptor) { return fork_and_use(in); }},
      {"fork-and-stay", [this](auto&, Descriptor) { return fork_and_stay(); }},
      {"post", [this](auto& in, Descriptor socket) { return post(in, std::move(socket)); }},
      {"serve", [this](auto& in, Descriptor) { return serve(in); }},
      {"stop-serving",
       [this](auto&, Descriptor) {
         broker_.reset();
         return Reply{};
       }},
  };

  std::map<std::string, std::shared_ptr<News>> news_;
  std::map<std::string, std::shared_ptr<Ends>> ends_;
  std::optional<barter::Broker> broker_;
  std::optional<barter::SharedMachine> machine_;
  std::map<std::string, barter::RegionDescriptor> descriptors_;
  std::map<std::string, barter::SharedRegion> regions_;
  std::map<std::string, barter::SharedMapping> mappings_;
  std::map<std::string, std::vector<barter::SharedMapping>> many_;
  std::map<std::string, barter::SharedLease> leases_;
};

}  // namespace

// The socket is descriptor 3. Its end is the end.
int main() {
  const Channel channel{Descriptor(3)};
  Player player;
  std::array<std::byte, 4096> buffer{};
  while (true) {
    Watch watch{.number = channel.number()};
    static_cast<void>(barter::linux_os::sharing::wait_for_any({&watch, 1}, barter::Duration(-1)));
    auto packet = channel.receive(buffer);
    if (!packet || packet->kind == Packet::Kind::end) return 0;
    if (packet->kind == Packet::Kind::none) continue;
    const std::string line(reinterpret_cast<const char*>(buffer.data()), packet->bytes);
    const Reply reply = player.play(line, std::move(packet->descriptor));
    if (!channel.send(std::as_bytes(std::span(reply.text)), reply.descriptor)) return 1;
  }
}
