// What a controller's memory buffer (CMB) may be used for: CMBSZ and CMBLOC.
#pragma once

namespace barter::devices::nvme {

struct BufferAbilities {
  bool submission_queues = true;        // SQS
  bool completion_queues = true;        // CQS
  bool lists = true;                    // LISTS: PRP lists and SGL segments
  bool read_data = true;                // RDS: data of commands that go from the controller
  bool write_data = true;               // WDS: data of commands that go to it
  bool queue_mixed = false;             // CQMMS: one queue partly in the buffer
  bool lists_mixed = true;              // CDPMLS: one command's lists partly in the buffer
  bool list_apart_from_command = true;  // CDPCILS: a list not where its command is
  bool data_mixed = false;              // CDMMMS: one command's data partly in the buffer
};

}  // namespace barter::devices::nvme
