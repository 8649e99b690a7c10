// The driver's tables against someone else's transcription of the specification: libnvme's <nvme/types.h>. A definition
// that driver and model would share proves nothing, so both are compared with this one.
#include <cstddef>
#include <cstdint>

#include <gtest/gtest.h>
#include <nvme/types.h>

#include "drivers/nvme/commands/features.h"
#include "drivers/nvme/commands/identify.h"
#include "drivers/nvme/commands/io.h"
#include "drivers/nvme/commands/queues.h"
#include "drivers/nvme/controller.h"
#include "drivers/nvme/registers.h"
#include "drivers/nvme/status.h"

namespace barter::drivers::nvme {
namespace {

// Where a field lies, as libnvme writes it: a shift, and a mask before the shift.
template <class R, unsigned kHigh, unsigned kLow, class V>
void expect_field(base::Field<R, kHigh, kLow, V>, std::uint64_t shift, std::uint64_t mask, const char* name) {
  EXPECT_EQ(kLow, shift) << name;
  EXPECT_EQ((std::uint64_t{1} << (kHigh - kLow + 1)) - 1, mask) << name;
}
#define EXPECT_FIELD(field, macro) expect_field(field, macro##_SHIFT, macro##_MASK, #macro)

TEST(NvmeDriverOracle, RegisterOffsets) {
  EXPECT_EQ(Capabilities::kOffset, NVME_REG_CAP);
  EXPECT_EQ(Version::kOffset, NVME_REG_VS);
  EXPECT_EQ(Configuration::kOffset, NVME_REG_CC);
  EXPECT_EQ(Status::kOffset, NVME_REG_CSTS);
  EXPECT_EQ(AdminQueueAttributes::kOffset, NVME_REG_AQA);
  EXPECT_EQ(AdminSubmissionQueue::kOffset, NVME_REG_ASQ);
  EXPECT_EQ(AdminCompletionQueue::kOffset, NVME_REG_ACQ);
  EXPECT_EQ(MemoryBufferLocation::kOffset, NVME_REG_CMBLOC);
  EXPECT_EQ(MemoryBufferSize::kOffset, NVME_REG_CMBSZ);
  EXPECT_EQ(MemoryBufferControl::kOffset, NVME_REG_CMBMSC);
  EXPECT_EQ(MemoryBufferStatus::kOffset, NVME_REG_CMBSTS);
}

TEST(NvmeDriverOracle, CapabilityFields) {
  using C = Capabilities;
  EXPECT_FIELD(C::max_queue_entries_0based, NVME_CAP_MQES);
  EXPECT_FIELD(C::contiguous_queues_required, NVME_CAP_CQR);
  EXPECT_FIELD(C::timeout_500ms, NVME_CAP_TO);
  EXPECT_FIELD(C::doorbell_stride_log2_minus2, NVME_CAP_DSTRD);
  EXPECT_FIELD(C::command_sets, NVME_CAP_CSS);
  EXPECT_FIELD(C::page_size_min_log2_minus12, NVME_CAP_MPSMIN);
  EXPECT_FIELD(C::page_size_max_log2_minus12, NVME_CAP_MPSMAX);
  EXPECT_FIELD(C::controller_memory_buffer, NVME_CAP_CMBS);
  EXPECT_EQ(kCommandSetNvm, std::uint64_t{NVME_CAP_CSS_NVM});
}

TEST(NvmeDriverOracle, ConfigurationAndStatusFields) {
  using C = Configuration;
  EXPECT_FIELD(C::enable, NVME_CC_EN);
  EXPECT_FIELD(C::command_set, NVME_CC_CSS);
  EXPECT_FIELD(C::page_size_log2_minus12, NVME_CC_MPS);
  EXPECT_FIELD(C::arbitration, NVME_CC_AMS);
  EXPECT_FIELD(C::shutdown, NVME_CC_SHN);
  EXPECT_FIELD(C::submission_entry_log2, NVME_CC_IOSQES);
  EXPECT_FIELD(C::completion_entry_log2, NVME_CC_IOCQES);
  EXPECT_EQ(kShutdownNormal, std::uint32_t{NVME_CC_SHN_NORMAL});
  EXPECT_FIELD(Status::ready, NVME_CSTS_RDY);
  EXPECT_FIELD(Status::fatal, NVME_CSTS_CFS);
  EXPECT_FIELD(Status::shutdown, NVME_CSTS_SHST);
  EXPECT_EQ(kShutdownComplete, std::uint32_t{NVME_CSTS_SHST_CMPLT});
  EXPECT_FIELD(Version::tertiary, NVME_VS_TER);
  EXPECT_FIELD(Version::minor, NVME_VS_MNR);
  EXPECT_FIELD(Version::major, NVME_VS_MJR);
  EXPECT_FIELD(AdminQueueAttributes::submission_entries_0based, NVME_AQA_ASQS);
  EXPECT_FIELD(AdminQueueAttributes::completion_entries_0based, NVME_AQA_ACQS);
}

TEST(NvmeDriverOracle, MemoryBufferFields) {
  EXPECT_FIELD(MemoryBufferLocation::bar, NVME_CMBLOC_BIR);
  EXPECT_FIELD(MemoryBufferLocation::offset_units, NVME_CMBLOC_OFST);
  EXPECT_FIELD(MemoryBufferSize::submission_queues, NVME_CMBSZ_SQS);
  EXPECT_FIELD(MemoryBufferSize::completion_queues, NVME_CMBSZ_CQS);
  EXPECT_FIELD(MemoryBufferSize::lists, NVME_CMBSZ_LISTS);
  EXPECT_FIELD(MemoryBufferSize::read_data, NVME_CMBSZ_RDS);
  EXPECT_FIELD(MemoryBufferSize::write_data, NVME_CMBSZ_WDS);
  EXPECT_FIELD(MemoryBufferSize::unit_log16_4kib, NVME_CMBSZ_SZU);
  EXPECT_FIELD(MemoryBufferSize::size_units, NVME_CMBSZ_SZ);
  EXPECT_EQ(NVME_CMBSZ_SZU_64G, 6);
  EXPECT_FIELD(MemoryBufferControl::registers_enable, NVME_CMBMSC_CRE);
  EXPECT_FIELD(MemoryBufferControl::memory_space_enable, NVME_CMBMSC_CMSE);
  EXPECT_EQ(MemoryBufferControl{}.with(MemoryBufferControl::base_address_4kib, 0x12345).raw,
            std::uint64_t{NVME_CMBMSC_CBA(0x12345000ull)} << 12);
  EXPECT_FIELD(MemoryBufferStatus::base_address_invalid, NVME_CMBSTS_CBAI);
}

TEST(NvmeDriverOracle, Opcodes) {
  EXPECT_EQ(kOpcodeDeleteSubmissionQueue, nvme_admin_delete_sq);
  EXPECT_EQ(kOpcodeCreateSubmissionQueue, nvme_admin_create_sq);
  EXPECT_EQ(kOpcodeDeleteCompletionQueue, nvme_admin_delete_cq);
  EXPECT_EQ(kOpcodeCreateCompletionQueue, nvme_admin_create_cq);
  EXPECT_EQ(kOpcodeIdentify, nvme_admin_identify);
  EXPECT_EQ(kOpcodeSetFeatures, nvme_admin_set_features);
  EXPECT_EQ(kFeatureNumberOfQueues, std::uint32_t{NVME_FEAT_FID_NUM_QUEUES});
  EXPECT_EQ(kIdentifyNamespace, std::uint32_t{NVME_IDENTIFY_CNS_NS});
  EXPECT_EQ(kIdentifyController, std::uint32_t{NVME_IDENTIFY_CNS_CTRL});
  EXPECT_EQ(kIdentifyActiveNamespaces, std::uint32_t{NVME_IDENTIFY_CNS_NS_ACTIVE_LIST});
  EXPECT_EQ(kOpcodeFlush, nvme_cmd_flush);
  EXPECT_EQ(kOpcodeWrite, nvme_cmd_write);
  EXPECT_EQ(kOpcodeRead, nvme_cmd_read);
}

TEST(NvmeDriverOracle, IdentifyOffsets) {
  namespace c = controller_offset;
  EXPECT_EQ(c::kSerial, offsetof(nvme_id_ctrl, sn));
  EXPECT_EQ(c::kModel, offsetof(nvme_id_ctrl, mn));
  EXPECT_EQ(c::kFirmware, offsetof(nvme_id_ctrl, fr));
  EXPECT_EQ(c::kMaxTransferLog2Pages, offsetof(nvme_id_ctrl, mdts));
  EXPECT_EQ(c::kShutdownLatencyUs, offsetof(nvme_id_ctrl, rtd3e));
  EXPECT_EQ(c::kSubmissionEntrySizes, offsetof(nvme_id_ctrl, sqes));
  EXPECT_EQ(c::kCompletionEntrySizes, offsetof(nvme_id_ctrl, cqes));
  EXPECT_EQ(c::kNamespaces, offsetof(nvme_id_ctrl, nn));
  EXPECT_EQ(c::kSglSupport, offsetof(nvme_id_ctrl, sgls));
  EXPECT_EQ(kIdentifyBytes, sizeof(nvme_id_ctrl));
  EXPECT_EQ(kIdentifyListEntries, std::size_t{NVME_ID_NS_LIST_MAX});
  namespace n = namespace_offset;
  EXPECT_EQ(n::kBlocks, offsetof(nvme_id_ns, nsze));
  EXPECT_EQ(n::kFormats0based, offsetof(nvme_id_ns, nlbaf));
  EXPECT_EQ(n::kFormattedAs, offsetof(nvme_id_ns, flbas));
  EXPECT_EQ(n::kAttributes, offsetof(nvme_id_ns, nsattr));
  EXPECT_EQ(n::kFirstFormat, offsetof(nvme_id_ns, lbaf));
  EXPECT_EQ(sizeof(nvme_lbaf), 4u);
  EXPECT_EQ(offsetof(nvme_lbaf, ms), 0u);
  EXPECT_EQ(offsetof(nvme_lbaf, ds) * 8, 16u);  // BlockFormat::block_log2
  expect_field(FormattedAs::index_low, 0, NVME_NS_FLBAS_LOWER_MASK, "FLBAS low");
  EXPECT_EQ(FormattedAs::from(NVME_NS_FLBAS_HIGHER_MASK).get(FormattedAs::index_high), 3);
  EXPECT_TRUE(FormattedAs::from(NVME_NS_FLBAS_META_EXT).get(FormattedAs::metadata_with_data));
}

// Every code that libnvme knows for an NVM controller over PCIe has a name here, and no name has a code that it doesn't
// know. Codes of Fabrics, of zoned namespaces and of proposals later than 2.0 are left out on both sides.
TEST(NvmeDriverOracle, StatusCodes) {
  struct Known {
    int type;
    int code;
    const char* part_of_name;
  };
  const Known known[] = {
      {0, NVME_SC_SUCCESS, "Success"},
      {0, NVME_SC_INVALID_OPCODE, "Opcode"},
      {0, NVME_SC_INVALID_FIELD, "Invalid Field"},
      {0, NVME_SC_CMDID_CONFLICT, "Command ID Conflict"},
      {0, NVME_SC_DATA_XFER_ERROR, "Data Transfer"},
      {0, NVME_SC_POWER_LOSS, "Power Loss"},
      {0, NVME_SC_INTERNAL, "Internal Error"},
      {0, NVME_SC_ABORT_REQ, "Abort Requested"},
      {0, NVME_SC_ABORT_QUEUE, "SQ Deletion"},
      {0, NVME_SC_FUSED_FAIL, "Failed Fused"},
      {0, NVME_SC_FUSED_MISSING, "Missing Fused"},
      {0, NVME_SC_INVALID_NS, "Invalid Namespace"},
      {0, NVME_SC_CMD_SEQ_ERROR, "Sequence"},
      {0, NVME_SC_SGL_INVALID_LAST, "SGL Segment"},
      {0, NVME_SC_SGL_INVALID_COUNT, "Number of SGL"},
      {0, NVME_SC_SGL_INVALID_DATA, "Data SGL Length"},
      {0, NVME_SC_SGL_INVALID_METADATA, "Metadata SGL Length"},
      {0, NVME_SC_SGL_INVALID_TYPE, "SGL Descriptor Type"},
      {0, NVME_SC_CMB_INVALID_USE, "Controller Memory Buffer"},
      {0, NVME_SC_PRP_INVALID_OFFSET, "PRP Offset"},
      {0, NVME_SC_AWU_EXCEEDED, "Atomic Write Unit"},
      {0, NVME_SC_OP_DENIED, "Denied"},
      {0, NVME_SC_SGL_INVALID_OFFSET, "SGL Offset"},
      {0, NVME_SC_HOSTID_FORMAT, "Host Identifier"},
      {0, NVME_SC_KAT_EXPIRED, "Timer Expired"},
      {0, NVME_SC_KAT_INVALID, "Timeout Invalid"},
      {0, NVME_SC_CMD_ABORTED_PREMEPT, "Preempt"},
      {0, NVME_SC_SANITIZE_FAILED, "Sanitize Failed"},
      {0, NVME_SC_SANITIZE_IN_PROGRESS, "Sanitize In Progress"},
      {0, NVME_SC_SGL_INVALID_GRANULARITY, "Granularity"},
      {0, NVME_SC_CMD_IN_CMBQ_NOT_SUPP, "Queue in CMB"},
      {0, NVME_SC_NS_WRITE_PROTECTED, "Write Protected"},
      {0, NVME_SC_CMD_INTERRUPTED, "Interrupted"},
      {0, NVME_SC_TRAN_TPORT_ERROR, "Transient"},
      {0, NVME_SC_PROHIBITED_BY_CMD_AND_FEAT, "Lockdown"},
      {0, NVME_SC_ADMIN_CMD_MEDIA_NOT_READY, "Media Not Ready"},
      {0, NVME_SC_LBA_RANGE, "LBA Out of Range"},
      {0, NVME_SC_CAP_EXCEEDED, "Capacity Exceeded"},
      {0, NVME_SC_NS_NOT_READY, "Not Ready"},
      {0, NVME_SC_RESERVATION_CONFLICT, "Reservation"},
      {0, NVME_SC_FORMAT_IN_PROGRESS, "Format In Progress"},
      {1, NVME_SC_CQ_INVALID, "Completion Queue Invalid"},
      {1, NVME_SC_QID_INVALID, "Queue Identifier"},
      {1, NVME_SC_QUEUE_SIZE, "Queue Size"},
      {1, NVME_SC_ABORT_LIMIT, "Abort Command Limit"},
      {1, NVME_SC_ASYNC_LIMIT, "Asynchronous Event"},
      {1, NVME_SC_FIRMWARE_SLOT, "Firmware Slot"},
      {1, NVME_SC_FIRMWARE_IMAGE, "Firmware Image"},
      {1, NVME_SC_INVALID_VECTOR, "Interrupt Vector"},
      {1, NVME_SC_INVALID_LOG_PAGE, "Log Page"},
      {1, NVME_SC_INVALID_FORMAT, "Invalid Format"},
      {1, NVME_SC_FW_NEEDS_CONV_RESET, "Conventional Reset"},
      {1, NVME_SC_INVALID_QUEUE, "Queue Deletion"},
      {1, NVME_SC_FEATURE_NOT_SAVEABLE, "Saveable"},
      {1, NVME_SC_FEATURE_NOT_CHANGEABLE, "Changeable"},
      {1, NVME_SC_FEATURE_NOT_PER_NS, "Namespace Specific"},
      {1, NVME_SC_FW_NEEDS_SUBSYS_RESET, "Subsystem Reset"},
      {1, NVME_SC_FW_NEEDS_RESET, "Controller Level Reset"},
      {1, NVME_SC_FW_NEEDS_MAX_TIME, "Maximum Time"},
      {1, NVME_SC_FW_ACTIVATE_PROHIBITED, "Activation Prohibited"},
      {1, NVME_SC_OVERLAPPING_RANGE, "Overlapping"},
      {1, NVME_SC_NS_INSUFFICIENT_CAP, "Insufficient Capacity"},
      {1, NVME_SC_NS_ID_UNAVAILABLE, "Identifier Unavailable"},
      {1, NVME_SC_NS_ALREADY_ATTACHED, "Already Attached"},
      {1, NVME_SC_NS_IS_PRIVATE, "Private"},
      {1, NVME_SC_NS_NOT_ATTACHED, "Not Attached"},
      {1, NVME_SC_THIN_PROV_NOT_SUPP, "Thin"},
      {1, NVME_SC_CTRL_LIST_INVALID, "Controller List"},
      {1, NVME_SC_SELF_TEST_IN_PROGRESS, "Self-test"},
      {1, NVME_SC_BP_WRITE_PROHIBITED, "Boot Partition"},
      {1, NVME_SC_INVALID_CTRL_ID, "Controller Identifier"},
      {1, NVME_SC_INVALID_SEC_CTRL_STATE, "Secondary Controller"},
      {1, NVME_SC_INVALID_CTRL_RESOURCES, "Controller Resources"},
      {1, NVME_SC_INVALID_RESOURCE_ID, "Resource Identifier"},
      {1, NVME_SC_PMR_SAN_PROHIBITED, "Persistent Memory Region"},
      {1, NVME_SC_ANA_GROUP_ID_INVALID, "ANA Group"},
      {1, NVME_SC_ANA_ATTACH_FAILED, "ANA Attach"},
      {1, NVME_SC_INSUFFICIENT_CAP, "Insufficient Capacity"},
      {1, NVME_SC_NS_ATTACHMENT_LIMIT_EXCEEDED, "Attachment Limit"},
      {1, NVME_SC_PROHIBIT_CMD_EXEC_NOT_SUPPORTED, "Prohibition"},
      {1, NVME_SC_IOCS_NOT_SUPPORTED, "Command Set Not Supported"},
      {1, NVME_SC_IOCS_NOT_ENABLED, "Command Set Not Enabled"},
      {1, NVME_SC_IOCS_COMBINATION_REJECTED, "Combination"},
      {1, NVME_SC_INVALID_IOCS, "Invalid I/O Command Set"},
      {1, NVME_SC_ID_UNAVAILABLE, "Identifier Unavailable"},
      {1, NVME_SC_BAD_ATTRIBUTES, "Conflicting Attributes"},
      {1, NVME_SC_INVALID_PI, "Protection Information"},
      {1, NVME_SC_READ_ONLY, "Read Only"},
      {1, NVME_SC_CMD_SIZE_LIMIT_EXCEEDED, "Size Limit"},
      {2, NVME_SC_WRITE_FAULT, "Write Fault"},
      {2, NVME_SC_READ_ERROR, "Read Error"},
      {2, NVME_SC_GUARD_CHECK, "Guard"},
      {2, NVME_SC_APPTAG_CHECK, "Application Tag"},
      {2, NVME_SC_REFTAG_CHECK, "Reference Tag"},
      {2, NVME_SC_COMPARE_FAILED, "Compare"},
      {2, NVME_SC_ACCESS_DENIED, "Access Denied"},
      {2, NVME_SC_UNWRITTEN_BLOCK, "Unwritten"},
      {2, NVME_SC_STORAGE_TAG_CHECK, "Storage Tag"},
      {3, NVME_SC_ANA_INTERNAL_PATH_ERROR, "Internal Path"},
      {3, NVME_SC_ANA_PERSISTENT_LOSS, "Persistent Loss"},
      {3, NVME_SC_ANA_INACCESSIBLE, "Inaccessible"},
      {3, NVME_SC_ANA_TRANSITION, "Transition"},
      {3, NVME_SC_CTRL_PATH_ERROR, "Controller Pathing"},
      {3, NVME_SC_HOST_PATH_ERROR, "Host Pathing"},
      {3, NVME_SC_CMD_ABORTED_BY_HOST, "Aborted By Host"},
  };
  for (const Known& each : known) {
    const auto text = describe_status(static_cast<std::uint16_t>(each.type << 8 | each.code));
    EXPECT_NE(text.find(each.part_of_name), std::string::npos) << text << " should say " << each.part_of_name;
  }
  EXPECT_EQ(status_names().size(), std::size(known));
  EXPECT_EQ(StatusField::from(NVME_SC_DNR).get(StatusField::do_not_retry), true);
  EXPECT_EQ(StatusField::from(NVME_SC_MORE).get(StatusField::more), true);
  EXPECT_EQ(StatusField::from(NVME_SC_CRD).get(StatusField::retry_delay), 3);
}

}  // namespace
}  // namespace barter::drivers::nvme
