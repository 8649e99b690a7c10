// The accelerator's engines as an importer: they reach memory by PCIe and, where a link leads there, by it.
//
// The last resort is Bus Master Enable, which is PCIe's alone. It need not be more: what is reached by a link is cut off at the
// other end, by the grants of whoever owns the memory (machine/device_links.h).
//
// Threads: any. The function and the domain outlive the importer.
#pragma once
#include "drivers/function_importer.h"

namespace barter::drivers::accelerator {

class EngineImporter final : public FunctionImporter {
 public:
  using FunctionImporter::FunctionImporter;
  [[nodiscard]] bool takes_link_addresses() const override { return true; }
};

}  // namespace barter::drivers::accelerator
