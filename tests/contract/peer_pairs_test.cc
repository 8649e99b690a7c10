// The peer contract on every pair of exporter and importer that drivers make on the software machine, on every way from one to
// the other. docs/peer-contract.md has the table.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "peer_pair_machine.h"

namespace barter::contract {
namespace {

constexpr CannotRun kHostPagesCannot[] = {
    {"Point1_",
     "nobody is asked for ordinary memory of the process: whoever was given the pointer was given the memory"},
    {"Point4_mapping_made_while_the_owner_takes_back", "nobody is asked for ordinary memory of the process"},
    {"Point4_memory_taken_back_between_two_parts", "nobody is asked for ordinary memory of the process"},
    {"Point9_a_passing_refusal", "nobody refuses ordinary memory of the process"},
};

std::string name_of(const PairSetup& setup) {
  std::string name;
  switch (setup.importer) {
    case ImporterIs::drive:
      name = "drive";
      break;
    case ImporterIs::accelerator:
      name = "accelerator";
      break;
    case ImporterIs::accelerator_by_page_tables:
      name = "page_tables";
      break;
    case ImporterIs::dma_engine:
      name = "dma_engine";
      break;
    case ImporterIs::nic:
      name = "nic";
      break;
  }
  switch (setup.memory) {
    case MemoryOf::drive:
      name += "_to_controller_memory";
      break;
    case MemoryOf::accelerator:
      name += "_to_accelerator_memory";
      break;
    case MemoryOf::host:
      name += "_to_host_pages";
      break;
  }
  switch (setup.way) {
    case Way::by_switch:
      name += "_by_switch";
      break;
    case Way::by_redirection:
      name += "_by_redirection";
      break;
    case Way::by_host_bridge:
      name += "_by_host_bridge";
      break;
  }
  if (setup.iommu == IommuMode::translate) name += "_with_iommu";
  if (setup.threaded) name += "_threaded";
  return name;
}

PeerMachineParam pair(const PairSetup& setup) {
  PeerMachineParam param{.name = name_of(setup), .create = [setup] { return PairMachine::create(setup); }};
  if (setup.memory == MemoryOf::host) param.cannot_run = kHostPagesCannot;
  return param;
}

// Each way, with the IOMMU on and off; in threads one of each, because an importer that says nothing is waited for by the clock
// there. To host memory there is one way, whatever stands between.
std::vector<PairSetup> setups_of(ImporterIs importer, MemoryOf memory) {
  const auto with = [&](Way way, IommuMode iommu, bool threaded = false) {
    return PairSetup{.importer = importer, .memory = memory, .way = way, .iommu = iommu, .threaded = threaded};
  };
  if (memory == MemoryOf::host)
    return {with(Way::by_switch, IommuMode::off), with(Way::by_switch, IommuMode::translate)};
  return {with(Way::by_switch, IommuMode::off),
          with(Way::by_switch, IommuMode::translate),
          with(Way::by_redirection, IommuMode::off),
          with(Way::by_redirection, IommuMode::translate),
          with(Way::by_host_bridge, IommuMode::off),
          with(Way::by_host_bridge, IommuMode::translate),
          with(Way::by_redirection, IommuMode::translate, true)};
}

std::vector<PeerMachineParam> pairs(bool guarded_alone) {
  std::vector<PeerMachineParam> all;
  for (const ImporterIs importer : {ImporterIs::drive, ImporterIs::accelerator, ImporterIs::accelerator_by_page_tables,
                                    ImporterIs::dma_engine, ImporterIs::nic})
    for (const MemoryOf memory : {MemoryOf::drive, MemoryOf::accelerator, MemoryOf::host})
      for (const PairSetup& setup : setups_of(importer, memory))
        if (!guarded_alone || setup.is_guarded()) all.push_back(pair(setup));
  return all;
}

INSTANTIATE_TEST_SUITE_P(Pairs, PeerContract, testing::ValuesIn(pairs(false)), name_of_param);
INSTANTIATE_TEST_SUITE_P(Pairs, PeerContractGuarded, testing::ValuesIn(pairs(true)), name_of_param);

TEST(PeerPairs, WhatHostPagesCannotRunAreTests) { check_names(kHostPagesCannot); }

}  // namespace
}  // namespace barter::contract
