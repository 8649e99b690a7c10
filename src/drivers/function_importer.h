// A function that does DMA to other functions' memory by commands that its driver submits (peer/importer.h): the last resort
// is its Bus Master Enable bit.
//
// Threads: any. The function and the domain outlive the importer.
#pragma once
#include "barter/result.hpp"
#include "drivers/command_register.h"
#include "pci/function.h"
#include "peer/driven_importer.h"

namespace barter::drivers {

class FunctionImporter : public peer::DrivenImporter {
 public:
  FunctionImporter(pci::Function& function, peer::DmaDomain& domain, unsigned address_bits = 64)
      : function_(function), domain_(domain), bdf_(function.bdf()), address_bits_(address_bits) {}

  [[nodiscard]] Bdf function() const override { return bdf_; }
  [[nodiscard]] peer::DmaDomain& domain() override { return domain_; }
  [[nodiscard]] unsigned address_bits() const override { return address_bits_; }
  // The device must be brought up anew before it is of use again.
  [[nodiscard]] Result<void> isolate() override { return take_bus_mastering(function_); }

 private:
  pci::Function& function_;
  peer::DmaDomain& domain_;
  Bdf bdf_;
  unsigned address_bits_;
};

}  // namespace barter::drivers
