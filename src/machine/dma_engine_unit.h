// A DMA engine as a unit of a machine: an importer without memory.
#pragma once
#include <memory>

#include "drivers/dma_engine/engine.h"
#include "machine/state.h"
#include "peer/dma_domain.h"

namespace barter::machine {

struct DmaEngineParts {
  std::unique_ptr<pci::Function> function;
  peer::DmaDomain& domain;  // outlives the unit
  drivers::dma_engine::EngineOptions options;
};

// Everything that the driver does for one engine: fills in all of the unit but its name and BDF.
[[nodiscard]] Result<void> bring_up(DriveUnit& unit, DmaEngineParts parts);

}  // namespace barter::machine
