// A drive as a function that does DMA to other functions' memory (peer/importer.h): the last resort is its Bus Master
// Enable bit.
//
// Threads: any. The controller and the domain outlive the importer.
#pragma once
#include "drivers/nvme/controller.h"
#include "peer/driven_importer.h"

namespace barter::drivers::nvme {

class DriveImporter final : public peer::DrivenImporter {
 public:
  DriveImporter(Controller& controller, peer::DmaDomain& domain);

  [[nodiscard]] Bdf function() const override { return bdf_; }
  [[nodiscard]] peer::DmaDomain& domain() override { return *domain_; }
  // Clears Bus Master Enable. The controller must be created anew before it is of use again.
  [[nodiscard]] Result<void> isolate() override;

 private:
  Controller* controller_;
  peer::DmaDomain* domain_;
  Bdf bdf_;
};

}  // namespace barter::drivers::nvme
