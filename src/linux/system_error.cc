#include "linux/system_error.h"

#include <cerrno>
#include <system_error>
#include <utility>

namespace barter::linux_os {

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case EINVAL:
      return ErrorCode::invalid_argument;
    case ENOENT:
      return ErrorCode::not_found;
    case ENODEV:
    case ENXIO:
      return ErrorCode::device_gone;
    case EACCES:
    case EPERM:
    case EBUSY:
    case EROFS:
      return ErrorCode::refused;
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
      return ErrorCode::exhausted;
    case ENOSYS:
    case ENOTTY:
    case EOPNOTSUPP:
      return ErrorCode::unsupported;
    case EREMOTEIO:  // what the block layer makes of a peer-to-peer page that the drive cannot reach
      return ErrorCode::no_route;
    case ETIMEDOUT:
    case ETIME:
      return ErrorCode::timed_out;
    case ECANCELED:
    case EINTR:
      return ErrorCode::cancelled;
    default:
      return ErrorCode::io_failed;
  }
}

Error system_error(int error_number, std::string doing, std::string subject) {
  Error error{.code = code_of(error_number),
              .doing = std::move(doing),
              .subject = std::move(subject),
              .why = std::generic_category().message(error_number)};
  if (error_number == EACCES || error_number == EPERM) error.cure = "run it as root, or change the permissions there";
  return error;
}

}  // namespace barter::linux_os
