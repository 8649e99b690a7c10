// A drive whose driver is in the kernel, a part of it, or a file: what opens endpoints for it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "linux/files/file_place.h"
#include "linux/p2pdma/kernel_importer.h"
#include "linux/uring/completion_signal.h"
#include "machine/endpoint.h"

namespace barter::machine {

// What the endpoints of this computer share. Outlives them.
struct KernelPaths {
  linux_os::SystemRoots roots;
  linux_os::CompletionSignal signal;
  // What the verdict says of a client's way to the memory at an address of this process; empty if that is no memory of a peer.
  std::function<std::string(Bdf client, const void* address)> explain_refusal;
};

class KernelDrive final : public EndpointFactory {
 public:
  // Without an importer, nothing but host memory is handed to it. `paths` outlives the drive.
  KernelDrive(KernelPaths& paths, std::string name, linux_os::FilePlace place,
              std::shared_ptr<linux_os::KernelImporter> importer);
  [[nodiscard]] Result<std::unique_ptr<Endpoint>> open_endpoint(std::uint32_t capacity) override;

 private:
  KernelPaths& paths_;
  std::string name_;
  linux_os::FilePlace place_;
  std::shared_ptr<linux_os::KernelImporter> importer_;
};

}  // namespace barter::machine
