// The accelerator's engines as an importer: they reach memory by PCIe and, where a link leads there, by it.
//
// The last resort is Bus Master Enable, which is PCIe's alone. It need not be more: what is reached by a link is cut off at the
// other end, by the grants of whoever owns the memory (machine/device_links.h).
//
// Threads: any. The function and the domain outlive the importer.
#pragma once
#include "barter/result.hpp"
#include "drivers/command_register.h"
#include "pci/function.h"
#include "peer/driven_importer.h"

namespace barter::drivers::accelerator {

class EngineImporter final : public peer::DrivenImporter {
 public:
  EngineImporter(pci::Function& function, peer::DmaDomain& domain)
      : function_(function), domain_(domain), bdf_(function.bdf()) {}

  [[nodiscard]] Bdf function() const override { return bdf_; }
  [[nodiscard]] peer::DmaDomain& domain() override { return domain_; }
  [[nodiscard]] bool takes_link_addresses() const override { return true; }
  // The device must be brought up anew before it is of use again.
  [[nodiscard]] Result<void> isolate() override { return take_bus_mastering(function_); }

 private:
  pci::Function& function_;
  peer::DmaDomain& domain_;
  Bdf bdf_;
};

}  // namespace barter::drivers::accelerator
