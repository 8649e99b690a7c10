// The NVMe model's tables against libnvme's header (Debian: libnvme-dev), which others have typed in from the
// specification. The driver's tables have a test of their own: the two share nothing.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <gtest/gtest.h>
#include <nvme/types.h>

#include "devices/nvme/commands.h"
#include "devices/nvme/events.h"
#include "devices/nvme/features.h"
#include "devices/nvme/identify.h"
#include "devices/nvme/log_pages.h"
#include "devices/nvme/registers.h"
#include "devices/nvme/status.h"

namespace barter::devices::nvme {
namespace {

// A field's place, from the type that the model uses.
template <class R, unsigned kHigh, unsigned kLow, class V>
constexpr unsigned shift_of(base::Field<R, kHigh, kLow, V>) {
  return kLow;
}
template <class R, unsigned kHigh, unsigned kLow, class V>
constexpr std::uint64_t mask_of(base::Field<R, kHigh, kLow, V>) {
  return kHigh - kLow == 63 ? ~std::uint64_t{0} : (std::uint64_t{1} << (kHigh - kLow + 1)) - 1;
}
#define EXPECT_FIELD(field, name)                                         \
  EXPECT_EQ(shift_of(field), static_cast<unsigned>(NVME_##name##_SHIFT)); \
  EXPECT_EQ(mask_of(field), static_cast<std::uint64_t>(NVME_##name##_MASK))

TEST(NvmeModelOracle, RegisterOffsets) {
  EXPECT_EQ(Capabilities::kOffset, unsigned{NVME_REG_CAP});
  EXPECT_EQ(Version::kOffset, unsigned{NVME_REG_VS});
  EXPECT_EQ(InterruptMaskSet::kOffset, unsigned{NVME_REG_INTMS});
  EXPECT_EQ(InterruptMaskClear::kOffset, unsigned{NVME_REG_INTMC});
  EXPECT_EQ(Configuration::kOffset, unsigned{NVME_REG_CC});
  EXPECT_EQ(ControllerStatus::kOffset, unsigned{NVME_REG_CSTS});
  EXPECT_EQ(SubsystemReset::kOffset, unsigned{NVME_REG_NSSR});
  EXPECT_EQ(AdminQueueAttributes::kOffset, unsigned{NVME_REG_AQA});
  EXPECT_EQ(AdminSubmissionQueue::kOffset, unsigned{NVME_REG_ASQ});
  EXPECT_EQ(AdminCompletionQueue::kOffset, unsigned{NVME_REG_ACQ});
  EXPECT_EQ(BufferLocation::kOffset, unsigned{NVME_REG_CMBLOC});
  EXPECT_EQ(BufferSize::kOffset, unsigned{NVME_REG_CMBSZ});
  EXPECT_EQ(BufferControl::kOffset, unsigned{NVME_REG_CMBMSC});
  EXPECT_EQ(BufferStatus::kOffset, unsigned{NVME_REG_CMBSTS});
  EXPECT_EQ(ReadyTimeouts::kOffset, unsigned{NVME_REG_CRTO});
}

TEST(NvmeModelOracle, RegisterFields) {
  EXPECT_FIELD(Capabilities::queue_entries_0based, CAP_MQES);
  EXPECT_FIELD(Capabilities::contiguous_queues, CAP_CQR);
  EXPECT_FIELD(Capabilities::arbitration, CAP_AMS);
  EXPECT_FIELD(Capabilities::timeout_500ms, CAP_TO);
  EXPECT_FIELD(Capabilities::doorbell_stride_log2, CAP_DSTRD);
  EXPECT_FIELD(Capabilities::command_sets, CAP_CSS);
  EXPECT_FIELD(Capabilities::page_size_min_log2_4k, CAP_MPSMIN);
  EXPECT_FIELD(Capabilities::page_size_max_log2_4k, CAP_MPSMAX);
  EXPECT_FIELD(Capabilities::controller_memory_buffer, CAP_CMBS);
  EXPECT_FIELD(Capabilities::ready_modes, CAP_CRMS);
  EXPECT_FIELD(Version::major, VS_MJR);
  EXPECT_FIELD(Version::minor, VS_MNR);
  EXPECT_FIELD(Version::tertiary, VS_TER);
  EXPECT_FIELD(Configuration::enable, CC_EN);
  EXPECT_FIELD(Configuration::command_set, CC_CSS);
  EXPECT_FIELD(Configuration::page_size_log2_4k, CC_MPS);
  EXPECT_FIELD(Configuration::arbitration, CC_AMS);
  EXPECT_FIELD(Configuration::shutdown, CC_SHN);
  EXPECT_FIELD(Configuration::submission_entry_log2, CC_IOSQES);
  EXPECT_FIELD(Configuration::completion_entry_log2, CC_IOCQES);
  EXPECT_FIELD(Configuration::ready_independent_of_media, CC_CRIME);
  EXPECT_FIELD(ControllerStatus::ready, CSTS_RDY);
  EXPECT_FIELD(ControllerStatus::fatal, CSTS_CFS);
  EXPECT_FIELD(ControllerStatus::shutdown, CSTS_SHST);
  EXPECT_EQ(unsigned{kShutdownComplete}, unsigned{NVME_CSTS_SHST_CMPLT});
  EXPECT_FIELD(AdminQueueAttributes::submission_entries_0based, AQA_ASQS);
  EXPECT_FIELD(AdminQueueAttributes::completion_entries_0based, AQA_ACQS);
}

TEST(NvmeModelOracle, MemoryBufferFields) {
  EXPECT_FIELD(BufferLocation::bar, CMBLOC_BIR);
  EXPECT_FIELD(BufferLocation::queue_mixed, CMBLOC_CQMMS);
  EXPECT_FIELD(BufferLocation::queue_discontiguous, CMBLOC_CQPDS);
  EXPECT_FIELD(BufferLocation::lists_mixed, CMBLOC_CDPLMS);  // libnvme's spelling of CDPMLS
  EXPECT_FIELD(BufferLocation::list_apart_from_command, CMBLOC_CDPCILS);
  EXPECT_FIELD(BufferLocation::data_mixed, CMBLOC_CDMMMS);
  EXPECT_FIELD(BufferLocation::queue_dword_aligned, CMBLOC_CQDA);
  EXPECT_FIELD(BufferLocation::offset_units, CMBLOC_OFST);
  EXPECT_FIELD(BufferSize::submission_queues, CMBSZ_SQS);
  EXPECT_FIELD(BufferSize::completion_queues, CMBSZ_CQS);
  EXPECT_FIELD(BufferSize::lists, CMBSZ_LISTS);
  EXPECT_FIELD(BufferSize::read_data, CMBSZ_RDS);
  EXPECT_FIELD(BufferSize::write_data, CMBSZ_WDS);
  EXPECT_FIELD(BufferSize::unit_log16, CMBSZ_SZU);
  EXPECT_FIELD(BufferSize::size_units, CMBSZ_SZ);
  EXPECT_FIELD(BufferControl::capabilities, CMBMSC_CRE);
  EXPECT_FIELD(BufferControl::memory_space, CMBMSC_CMSE);
  EXPECT_FIELD(BufferControl::base_4k, CMBMSC_CBA);
  EXPECT_FIELD(BufferStatus::base_invalid, CMBSTS_CBAI);
  const BufferSize size = BufferSize{}.with(BufferSize::size_units, 3).with(BufferSize::unit_log16, 2);
  EXPECT_EQ(nvme_cmb_size(size.raw), std::uint64_t{3} << 20);
}

TEST(NvmeModelOracle, Opcodes) {
  EXPECT_EQ(int(AdminOpcode::delete_submission_queue), nvme_admin_delete_sq);
  EXPECT_EQ(int(AdminOpcode::create_submission_queue), nvme_admin_create_sq);
  EXPECT_EQ(int(AdminOpcode::get_log_page), nvme_admin_get_log_page);
  EXPECT_EQ(int(AdminOpcode::delete_completion_queue), nvme_admin_delete_cq);
  EXPECT_EQ(int(AdminOpcode::create_completion_queue), nvme_admin_create_cq);
  EXPECT_EQ(int(AdminOpcode::identify), nvme_admin_identify);
  EXPECT_EQ(int(AdminOpcode::abort), nvme_admin_abort_cmd);
  EXPECT_EQ(int(AdminOpcode::set_features), nvme_admin_set_features);
  EXPECT_EQ(int(AdminOpcode::get_features), nvme_admin_get_features);
  EXPECT_EQ(int(AdminOpcode::async_event_request), nvme_admin_async_event);
  EXPECT_EQ(int(IoOpcode::flush), nvme_cmd_flush);
  EXPECT_EQ(int(IoOpcode::write), nvme_cmd_write);
  EXPECT_EQ(int(IoOpcode::read), nvme_cmd_read);
  EXPECT_EQ(int(IoOpcode::compare), nvme_cmd_compare);
  EXPECT_EQ(int(IoOpcode::write_zeroes), nvme_cmd_write_zeroes);
  EXPECT_EQ(int(IoOpcode::dataset_management), nvme_cmd_dsm);
  EXPECT_EQ(kAllNamespaces, std::uint32_t{NVME_NSID_ALL});
  // In libnvme these are bits of the upper half of a dword.
  EXPECT_EQ(shift_of(BlocksDword12::force_unit_access), 16u + 14u);
  EXPECT_EQ(std::uint32_t{NVME_IO_FUA} << 16, BlocksDword12{}.with(BlocksDword12::force_unit_access, true).raw);
  EXPECT_EQ(std::uint32_t{NVME_IO_DTYPE_STREAMS} << 16, BlocksDword12{}.with(BlocksDword12::directive, 1).raw);
  EXPECT_EQ(std::uint32_t{NVME_DSMGMT_AD}, RangesDword11{}.with(RangesDword11::deallocate, true).raw);
  EXPECT_EQ(sizeof(DatasetRange), sizeof(nvme_dsm_range));
  EXPECT_EQ(offsetof(DatasetRange, blocks), offsetof(nvme_dsm_range, nlb));
  EXPECT_EQ(offsetof(DatasetRange, first_block), offsetof(nvme_dsm_range, slba));
}

struct NamedStatus {
  Status ours;
  int type;
  int code;
};

TEST(NvmeModelOracle, StatusCodes) {
  namespace s = status;
  for (const NamedStatus& each : {
           NamedStatus{s::kSuccess, NVME_SCT_GENERIC, NVME_SC_SUCCESS},
           {s::kInvalidOpcode, NVME_SCT_GENERIC, NVME_SC_INVALID_OPCODE},
           {s::kInvalidField, NVME_SCT_GENERIC, NVME_SC_INVALID_FIELD},
           {s::kCommandIdConflict, NVME_SCT_GENERIC, NVME_SC_CMDID_CONFLICT},
           {s::kDataTransferError, NVME_SCT_GENERIC, NVME_SC_DATA_XFER_ERROR},
           {s::kInternalError, NVME_SCT_GENERIC, NVME_SC_INTERNAL},
           {s::kAbortRequested, NVME_SCT_GENERIC, NVME_SC_ABORT_REQ},
           {s::kInvalidNamespace, NVME_SCT_GENERIC, NVME_SC_INVALID_NS},
           {s::kCommandSequenceError, NVME_SCT_GENERIC, NVME_SC_CMD_SEQ_ERROR},
           {s::kInvalidSglSegment, NVME_SCT_GENERIC, NVME_SC_SGL_INVALID_LAST},
           {s::kInvalidSglCount, NVME_SCT_GENERIC, NVME_SC_SGL_INVALID_COUNT},
           {s::kSglLengthInvalid, NVME_SCT_GENERIC, NVME_SC_SGL_INVALID_DATA},
           {s::kSglTypeInvalid, NVME_SCT_GENERIC, NVME_SC_SGL_INVALID_TYPE},
           {s::kInvalidUseOfBuffer, NVME_SCT_GENERIC, NVME_SC_CMB_INVALID_USE},
           {s::kPrpOffsetInvalid, NVME_SCT_GENERIC, NVME_SC_PRP_INVALID_OFFSET},
           {s::kWriteProtected, NVME_SCT_GENERIC, NVME_SC_NS_WRITE_PROTECTED},
           {s::kLbaOutOfRange, NVME_SCT_GENERIC, NVME_SC_LBA_RANGE},
           {s::kCompletionQueueInvalid, NVME_SCT_CMD_SPECIFIC, NVME_SC_CQ_INVALID},
           {s::kInvalidQueueId, NVME_SCT_CMD_SPECIFIC, NVME_SC_QID_INVALID},
           {s::kInvalidQueueSize, NVME_SCT_CMD_SPECIFIC, NVME_SC_QUEUE_SIZE},
           {s::kAsyncEventLimit, NVME_SCT_CMD_SPECIFIC, NVME_SC_ASYNC_LIMIT},
           {s::kInvalidVector, NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_VECTOR},
           {s::kInvalidLogPage, NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_LOG_PAGE},
           {s::kInvalidQueueDeletion, NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_QUEUE},
           {s::kFeatureNotSaveable, NVME_SCT_CMD_SPECIFIC, NVME_SC_FEATURE_NOT_SAVEABLE},
           {s::kFeatureNotChangeable, NVME_SCT_CMD_SPECIFIC, NVME_SC_FEATURE_NOT_CHANGEABLE},
           {s::kWriteFault, NVME_SCT_MEDIA, NVME_SC_WRITE_FAULT},
           {s::kUnrecoveredReadError, NVME_SCT_MEDIA, NVME_SC_READ_ERROR},
           {s::kCompareFailure, NVME_SCT_MEDIA, NVME_SC_COMPARE_FAILED},
       }) {
    EXPECT_EQ(each.ours.value & 0x7ff, each.type << NVME_SCT_SHIFT | each.code);
  }
  EXPECT_EQ(int{s::kMore}, NVME_SC_MORE);
  EXPECT_EQ(int{s::kDoNotRetry}, NVME_SC_DNR);
}

TEST(NvmeModelOracle, IdentifyController) {
  namespace at = identify_controller;
  EXPECT_EQ(at::kVendor, offsetof(nvme_id_ctrl, vid));
  EXPECT_EQ(at::kSubsystemVendor, offsetof(nvme_id_ctrl, ssvid));
  EXPECT_EQ(at::kSerial, offsetof(nvme_id_ctrl, sn));
  EXPECT_EQ(at::kModel, offsetof(nvme_id_ctrl, mn));
  EXPECT_EQ(at::kFirmware, offsetof(nvme_id_ctrl, fr));
  EXPECT_EQ(at::kArbitrationBurst, offsetof(nvme_id_ctrl, rab));
  EXPECT_EQ(at::kMaxTransfer, offsetof(nvme_id_ctrl, mdts));
  EXPECT_EQ(at::kControllerId, offsetof(nvme_id_ctrl, cntlid));
  EXPECT_EQ(at::kVersion, offsetof(nvme_id_ctrl, ver));
  EXPECT_EQ(at::kControllerType, offsetof(nvme_id_ctrl, cntrltype));
  EXPECT_EQ(at::kAdminCommands, offsetof(nvme_id_ctrl, oacs));
  EXPECT_EQ(at::kAbortLimit, offsetof(nvme_id_ctrl, acl));
  EXPECT_EQ(at::kEventLimit, offsetof(nvme_id_ctrl, aerl));
  EXPECT_EQ(at::kFirmwareUpdates, offsetof(nvme_id_ctrl, frmw));
  EXPECT_EQ(at::kLogPages, offsetof(nvme_id_ctrl, lpa));
  EXPECT_EQ(at::kErrorEntries, offsetof(nvme_id_ctrl, elpe));
  EXPECT_EQ(at::kWarningTemperature, offsetof(nvme_id_ctrl, wctemp));
  EXPECT_EQ(at::kCriticalTemperature, offsetof(nvme_id_ctrl, cctemp));
  EXPECT_EQ(at::kSubmissionEntry, offsetof(nvme_id_ctrl, sqes));
  EXPECT_EQ(at::kCompletionEntry, offsetof(nvme_id_ctrl, cqes));
  EXPECT_EQ(at::kNamespaces, offsetof(nvme_id_ctrl, nn));
  EXPECT_EQ(at::kIoCommands, offsetof(nvme_id_ctrl, oncs));
  EXPECT_EQ(at::kWriteCache, offsetof(nvme_id_ctrl, vwc));
  EXPECT_EQ(at::kSgl, offsetof(nvme_id_ctrl, sgls));
  EXPECT_EQ(at::kQualifiedName, offsetof(nvme_id_ctrl, subnqn));
  EXPECT_EQ(at::kPowerState0, offsetof(nvme_id_ctrl, psd));
}

TEST(NvmeModelOracle, IdentifyControllerReadWithTheirStructure) {
  const Page page = describe_controller({.vendor_id = 0x1b36, .serial = "s", .takes_sgl = true}, 3);
  nvme_id_ctrl theirs;
  static_assert(sizeof(theirs) == sizeof(page.bytes));
  std::memcpy(&theirs, page.bytes.data(), sizeof(theirs));
  EXPECT_EQ(theirs.ver, 0x00020000u);
  EXPECT_EQ(theirs.nn, 3u);
  EXPECT_EQ(theirs.cntrltype, NVME_CTRL_CNTRLTYPE_IO);
  EXPECT_EQ(theirs.oncs, NVME_CTRL_ONCS_COMPARE | NVME_CTRL_ONCS_DSM | NVME_CTRL_ONCS_WRITE_ZEROES);
  EXPECT_EQ(theirs.vwc, NVME_CTRL_VWC_PRESENT | NVME_CTRL_VWC_FLUSH);
  EXPECT_EQ(theirs.lpa, NVME_CTRL_LPA_CMD_EFFECTS | NVME_CTRL_LPA_EXTENDED);
  EXPECT_EQ(theirs.sgls, (NVME_CTRL_SGLS_SUPPORTED & 1u) | NVME_CTRL_SGLS_BIT_BUCKET);
}

TEST(NvmeModelOracle, IdentifyNamespace) {
  namespace at = identify_namespace;
  EXPECT_EQ(at::kSize, offsetof(nvme_id_ns, nsze));
  EXPECT_EQ(at::kCapacity, offsetof(nvme_id_ns, ncap));
  EXPECT_EQ(at::kUse, offsetof(nvme_id_ns, nuse));
  EXPECT_EQ(at::kDeallocation, offsetof(nvme_id_ns, dlfeat));
  EXPECT_EQ(at::kAttributes, offsetof(nvme_id_ns, nsattr));
  EXPECT_EQ(at::kGloballyUnique, offsetof(nvme_id_ns, nguid));
  EXPECT_EQ(at::kFormat0, offsetof(nvme_id_ns, lbaf));
  Namespace space{.id = 1, .block_log2 = 12, .blocks = 77, .is_read_only = true};
  const Page page = describe_namespace({.serial = "s"}, space);
  nvme_id_ns theirs;
  static_assert(sizeof(theirs) == sizeof(page.bytes));
  std::memcpy(&theirs, page.bytes.data(), sizeof(theirs));
  EXPECT_EQ(theirs.nsze, 77u);
  EXPECT_EQ(theirs.lbaf[0].ds, 12);
  EXPECT_EQ(theirs.lbaf[0].ms, 0);
  EXPECT_EQ(theirs.nsattr, NVME_NS_NSATTR_WRITE_PROTECTED);
  EXPECT_EQ(theirs.dlfeat & NVME_NS_DLFEAT_RB, NVME_NS_DLFEAT_RB_ALL_0S);
  const Page identifiers = describe_identifiers({.serial = "s"}, space);
  nvme_ns_id_desc descriptor;
  std::memcpy(&descriptor, identifiers.bytes.data(), sizeof(descriptor));
  EXPECT_EQ(descriptor.nidt, NVME_NIDT_NGUID);
  EXPECT_EQ(descriptor.nidl, NVME_NIDT_NGUID_LEN);
}

TEST(NvmeModelOracle, IdentifiersOfStructuresFeaturesAndLogs) {
  EXPECT_EQ(int(IdentifyStructure::name_space), NVME_IDENTIFY_CNS_NS);
  EXPECT_EQ(int(IdentifyStructure::controller), NVME_IDENTIFY_CNS_CTRL);
  EXPECT_EQ(int(IdentifyStructure::active_namespaces), NVME_IDENTIFY_CNS_NS_ACTIVE_LIST);
  EXPECT_EQ(int(IdentifyStructure::namespace_descriptors), NVME_IDENTIFY_CNS_NS_DESC_LIST);
  EXPECT_EQ(int(FeatureId::arbitration), NVME_FEAT_FID_ARBITRATION);
  EXPECT_EQ(int(FeatureId::power_management), NVME_FEAT_FID_POWER_MGMT);
  EXPECT_EQ(int(FeatureId::temperature_threshold), NVME_FEAT_FID_TEMP_THRESH);
  EXPECT_EQ(int(FeatureId::error_recovery), NVME_FEAT_FID_ERR_RECOVERY);
  EXPECT_EQ(int(FeatureId::volatile_write_cache), NVME_FEAT_FID_VOLATILE_WC);
  EXPECT_EQ(int(FeatureId::number_of_queues), NVME_FEAT_FID_NUM_QUEUES);
  EXPECT_EQ(int(FeatureId::interrupt_coalescing), NVME_FEAT_FID_IRQ_COALESCE);
  EXPECT_EQ(int(FeatureId::interrupt_vector_configuration), NVME_FEAT_FID_IRQ_CONFIG);
  EXPECT_EQ(int(FeatureId::write_atomicity_normal), NVME_FEAT_FID_WRITE_ATOMIC);
  EXPECT_EQ(int(FeatureId::async_event_configuration), NVME_FEAT_FID_ASYNC_EVENT);
  EXPECT_EQ(int(LogId::supported_pages), NVME_LOG_LID_SUPPORTED_LOG_PAGES);
  EXPECT_EQ(int(LogId::error_information), NVME_LOG_LID_ERROR);
  EXPECT_EQ(int(LogId::health), NVME_LOG_LID_SMART);
  EXPECT_EQ(int(LogId::firmware_slots), NVME_LOG_LID_FW_SLOT);
  EXPECT_EQ(int(LogId::commands_and_effects), NVME_LOG_LID_CMD_EFFECTS);
  EXPECT_EQ(int(LogId::features_and_effects), NVME_LOG_LID_FID_SUPPORTED_EFFECTS);
  EXPECT_EQ(int(ErrorEvent::invalid_doorbell_register), NVME_AER_ERROR_INVALID_DB_REG);
  EXPECT_EQ(int(ErrorEvent::invalid_doorbell_value), NVME_AER_ERROR_INVALID_DB_VAL);
}

TEST(NvmeModelOracle, LogPages) {
  EXPECT_EQ(sizeof(ErrorEntry), sizeof(nvme_error_log_page));
  EXPECT_EQ(offsetof(ErrorEntry, submission_queue), offsetof(nvme_error_log_page, sqid));
  EXPECT_EQ(offsetof(ErrorEntry, command_id), offsetof(nvme_error_log_page, cmdid));
  EXPECT_EQ(offsetof(ErrorEntry, status), offsetof(nvme_error_log_page, status_field));
  EXPECT_EQ(offsetof(ErrorEntry, parameter_location), offsetof(nvme_error_log_page, parm_error_location));
  EXPECT_EQ(offsetof(ErrorEntry, block), offsetof(nvme_error_log_page, lba));
  EXPECT_EQ(offsetof(ErrorEntry, namespace_id), offsetof(nvme_error_log_page, nsid));
  namespace at = health_log;
  EXPECT_EQ(at::kTemperature, offsetof(nvme_smart_log, temperature));
  EXPECT_EQ(at::kSpare, offsetof(nvme_smart_log, avail_spare));
  EXPECT_EQ(at::kSpareThreshold, offsetof(nvme_smart_log, spare_thresh));
  EXPECT_EQ(at::kUnitsRead, offsetof(nvme_smart_log, data_units_read));
  EXPECT_EQ(at::kUnitsWritten, offsetof(nvme_smart_log, data_units_written));
  EXPECT_EQ(at::kReadCommands, offsetof(nvme_smart_log, host_reads));
  EXPECT_EQ(at::kWriteCommands, offsetof(nvme_smart_log, host_writes));
  EXPECT_EQ(at::kPowerCycles, offsetof(nvme_smart_log, power_cycles));
  EXPECT_EQ(at::kUnsafeShutdowns, offsetof(nvme_smart_log, unsafe_shutdowns));
  EXPECT_EQ(at::kMediumErrors, offsetof(nvme_smart_log, media_errors));
  EXPECT_EQ(at::kErrorLogEntries, offsetof(nvme_smart_log, num_err_log_entries));
  LogPages logs;
  LogPages::Content content;
  ASSERT_TRUE(logs.make(NVME_LOG_LID_CMD_EFFECTS, {}, content));
  nvme_cmd_effects_log theirs;
  static_assert(sizeof(theirs) == 4096);
  std::memcpy(&theirs, content.page.bytes.data(), sizeof(theirs));
  EXPECT_EQ(theirs.iocs[nvme_cmd_write], std::uint32_t{NVME_CMD_EFFECTS_CSUPP | NVME_CMD_EFFECTS_LBCC});
  EXPECT_EQ(theirs.acs[nvme_admin_identify], std::uint32_t{NVME_CMD_EFFECTS_CSUPP});
}

}  // namespace
}  // namespace barter::devices::nvme
