#include "drivers/nvme/drive_importer.h"

#include "drivers/function_importer.h"

namespace barter::drivers::nvme {

DriveImporter::DriveImporter(Controller& controller, peer::DmaDomain& domain)
    : controller_(&controller), domain_(&domain), bdf_(controller.function().bdf()) {}

Result<void> DriveImporter::isolate() { return take_bus_mastering(controller_->function()); }

}  // namespace barter::drivers::nvme
