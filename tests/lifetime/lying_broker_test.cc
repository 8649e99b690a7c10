// A broker that does not keep to docs/sharing.md: its clients get a clear error, and wait for nothing that does not come.
#include <functional>
#include <thread>

#include "processes.h"

namespace barter::lifetime {
namespace {

using namespace linux_os::sharing;

class LyingBroker : public testing::Test {
 protected:
  // Welcomes one client as it should, gives it a region when it asks for one, and answers everything else by `lie`.
  void serve(std::function<void(const Channel&, const Message&)> lie) {
    auto listening = Listener::open(folder_.path / "broker");
    ASSERT_TRUE(listening) << listening.error().message();
    listener_ = std::move(*listening);
    thread_ = std::thread([this, lie = std::move(lie)] { answer_one_client(lie); });
    auto connected = SharedMachine::connect(folder_.path / "broker", {.answer_deadline = 20s});
    ASSERT_TRUE(connected) << connected.error().message();
    machine.emplace(std::move(*connected));
    auto made = machine->allocate("nvme0", 65536);
    ASSERT_TRUE(made) << made.error().message();
    region.emplace(std::move(*made));
  }
  void TearDown() override {
    region.reset();
    machine.reset();
    if (thread_.joinable()) thread_.join();
  }
  std::optional<SharedMachine> machine;
  std::optional<SharedRegion> region;

 private:
  void answer_one_client(const std::function<void(const Channel&, const Message&)>& lie) {
    Watch visit{.number = listener_.number()};
    if (!wait_for_any({&visit, 1}, kLongEnough)) return;
    const auto visitor = listener_.accept();
    if (!visitor) return;
    std::vector<std::byte> buffer(kMaxMessageBytes);
    while (true) {
      Watch watch{.number = visitor->channel.number()};
      if (!wait_for_any({&watch, 1}, kLongEnough)) return;
      const auto packet = visitor->channel.receive(buffer);
      if (!packet || packet->kind != Packet::Kind::bytes) return;
      const auto message = decode(std::span(buffer).first(packet->bytes));
      if (!message) return;
      const auto answer = [&](Body body, int with = -1) {
        static_cast<void>(visitor->channel.send(encode({message->number, std::move(body)}), with));
      };
      if (std::holds_alternative<Hello>(message->body))
        answer(Welcome{"a lie"});
      else if (std::holds_alternative<Allocate>(message->body))
        answer(Allocated{.region = 1, .exporter = {}, .range = {0, 65536}}, folder_descriptor_.number());
      else
        lie(visitor->channel, *message);
    }
  }
  Folder folder_;
  Descriptor folder_descriptor_{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  Listener listener_;
  std::thread thread_;
};

TEST_F(LyingBroker, AnswersSomethingElse) {
  serve([](const Channel& channel, const Message& message) {
    static_cast<void>(channel.send(encode({message.number, Moved{7}})));
  });
  const auto mapped = machine->map(region->descriptor(), "nvme1");
  ASSERT_FALSE(mapped);
  EXPECT_EQ(mapped.error().code, ErrorCode::malformed);
  EXPECT_THAT(mapped.error().message(), HasSubstr("answered something else"));
  EXPECT_FALSE(machine->map(region->descriptor(), "nvme1")) << "the connection was not given up";
}

TEST_F(LyingBroker, PartsThatContradictThemselves) {
  serve([](const Channel& channel, const Message& message) {
    MappedInParts parts{.importer = {}, .route = Route::bus_address, .parts = {}};
    parts.parts.push_back({.mapping = 5, .range = {0, 4096}, .kind = Answer::Kind::direct, .reason = {}});
    parts.parts.push_back({.mapping = 6, .range = {4096, 4096}, .kind = Answer::Kind::refuse, .reason = "no"});
    static_cast<void>(channel.send(encode({message.number, parts})));
  });
  const auto mapped = machine->map_parts(region->descriptor(), "nvme1");
  ASSERT_FALSE(mapped);
  EXPECT_EQ(mapped.error().code, ErrorCode::malformed);
}

TEST_F(LyingBroker, BytesThatNobodyAskedFor) {
  serve([](const Channel& channel, const Message& message) {
    static_cast<void>(channel.send(encode({message.number, Contents{std::vector<std::byte>(100)}})));
  });
  std::array<std::byte, 16> bytes{};
  const auto loaded = region->load(0, bytes);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::malformed);
}

// News of what there is not are no news, and answers to what was not asked are none.
TEST_F(LyingBroker, NewsOfNothing) {
  int told = 0;
  serve([](const Channel& channel, const Message& message) {
    for (std::uint64_t number = 2; number < 20; ++number) {
      static_cast<void>(channel.send(encode({0, Invalidated{number}})));
      static_cast<void>(channel.send(encode({0, GrantEnded{{.region = number, .access = Access::read}}})));
      static_cast<void>(channel.send(encode({message.number + 7, Done{}})));
    }
    static_cast<void>(channel.send(encode({message.number, Done{}})));
  });
  region->on_unmap([&](const Request&) { ++told; });
  EXPECT_TRUE(region->limit_pins(4096));
  EXPECT_EQ(told, 0);
}

TEST_F(LyingBroker, NonsenseAndSilenceEndTheCall) {
  serve([](const Channel& channel, const Message&) {
    const std::vector<std::byte> nonsense(33, std::byte{0xff});
    static_cast<void>(channel.send(nonsense));
  });
  const auto limited = region->limit_pins(4096);
  ASSERT_FALSE(limited);
  EXPECT_EQ(limited.error().code, ErrorCode::device_gone);
  EXPECT_FALSE(machine->is_connected());
}

}  // namespace
}  // namespace barter::lifetime
