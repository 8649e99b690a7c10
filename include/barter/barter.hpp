// All of Barter. Start reading at machine.hpp and copy.hpp.
#pragma once
#include <barter/address.hpp>
#include <barter/binding.hpp>
#include <barter/copy.hpp>
#include <barter/doctor.hpp>
#include <barter/io.hpp>
#include <barter/known.hpp>
#include <barter/machine.hpp>
#include <barter/managed.hpp>
#include <barter/memory.hpp>
#include <barter/policy.hpp>
#include <barter/result.hpp>
#include <barter/sharing.hpp>
#include <barter/system.hpp>
#include <barter/topology.hpp>
#include <barter/units.hpp>
#include <barter/verdict.hpp>
