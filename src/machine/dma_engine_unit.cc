#include "machine/dma_engine_unit.h"

#include <utility>

#include "drivers/function_importer.h"

namespace barter::machine {

Result<void> bring_up(DriveUnit& unit, DmaEngineParts parts) {
  unit.kind = UnitKind::dma_engine;
  auto created = drivers::dma_engine::Engine::create(std::move(parts.function), parts.options);
  if (!created) return std::unexpected(std::move(created.error()));
  unit.dma_engine = std::move(*created);
  unit.importer = std::make_shared<drivers::FunctionImporter>(unit.dma_engine->function(), parts.domain);
  return {};
}

}  // namespace barter::machine
