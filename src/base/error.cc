#include <cstdio>

#include <fmt/format.h>

#include "barter/policy.hpp"
#include "barter/result.hpp"
#include "base/printable.h"

namespace barter {

std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::malformed:
      return "malformed";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::out_of_range:
      return "out_of_range";
    case ErrorCode::exhausted:
      return "exhausted";
    case ErrorCode::refused:
      return "refused";
    case ErrorCode::no_route:
      return "no_route";
    case ErrorCode::pinned:
      return "pinned";
    case ErrorCode::revoked:
      return "revoked";
    case ErrorCode::timed_out:
      return "timed_out";
    case ErrorCode::device_failed:
      return "device_failed";
    case ErrorCode::device_gone:
      return "device_gone";
    case ErrorCode::io_failed:
      return "io_failed";
    case ErrorCode::cancelled:
      return "cancelled";
  }
  return "?";
}

std::string Error::message() const {
  std::string text = doing;
  if (!subject.empty()) text += (text.empty() ? "" : " ") + subject;
  if (!where.empty()) text += ", " + where;
  if (!why.empty()) text += (text.empty() ? "" : ": ") + why;
  if (!cure.empty()) text += "; " + cure;
  return text;
}

int print(const Error& error) {
  // Not by fmt, which throws where nothing can be written: then there is nobody left to tell.
  const std::string text = fmt::format("error: {}\n", base::printable(error.message()));
  std::fputs(text.c_str(), stderr);
  return 2;
}

std::string_view name_of(P2p policy) {
  switch (policy) {
    case P2p::required:
      return "required";
    case P2p::preferred:
      return "preferred";
    case P2p::enabled:
      return "enabled";
    case P2p::disabled:
      return "disabled";
  }
  return "?";
}

Result<P2p> parse_p2p(std::string_view text) {
  for (P2p policy : {P2p::required, P2p::preferred, P2p::enabled, P2p::disabled})
    if (text == name_of(policy)) return policy;
  return fail({.code = ErrorCode::invalid_argument,
               .doing = "reading the p2p policy",
               .subject = fmt::format("'{}'", text),
               .why = "there is no such policy",
               .cure = "use required, preferred, enabled or disabled"});
}

}  // namespace barter
