#include "fabric/translation_cache.h"

#include <map>
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "base/random.h"

namespace barter::fabric {
namespace {

constexpr std::uint64_t kPage = 4096;

Translation page(std::uint64_t number, std::uint64_t target) {
  return {.start = number * kPage, .bytes = kPage, .target = target * kPage};
}

TEST(TranslationCache, FindsWhatItWasGivenAndDropsWhatItIsTold) {
  const auto cache = std::make_unique<TranslationCache>();
  EXPECT_EQ(cache->find(0), nullptr);
  cache->insert({.start = 16 * kPage, .bytes = 16 * kPage, .target = 64 * kPage});
  cache->insert(page(5, 6));
  ASSERT_NE(cache->find(16 * kPage), nullptr);
  EXPECT_EQ(cache->find(32 * kPage - 1)->target, 64 * kPage);
  EXPECT_EQ(cache->find(32 * kPage), nullptr);
  EXPECT_EQ(cache->find(4 * kPage), nullptr);
  cache->drop({6 * kPage, 16 * kPage});  // between the two
  EXPECT_EQ(cache->size(), 2u);
  cache->drop({31 * kPage, 40 * kPage});  // any part of it is enough
  EXPECT_EQ(cache->find(16 * kPage), nullptr);
  EXPECT_NE(cache->find(5 * kPage), nullptr);
  cache->clear();
  EXPECT_EQ(cache->size(), 0u);
  EXPECT_EQ(cache->find(5 * kPage), nullptr);
}

TEST(TranslationCache, ANewAnswerTakesThePlaceOfOldOnes) {
  const auto cache = std::make_unique<TranslationCache>();
  cache->insert(page(4, 1));
  cache->insert(page(5, 2));
  cache->insert({.start = 4 * kPage, .bytes = 4 * kPage, .target = 100 * kPage});
  EXPECT_EQ(cache->size(), 1u);
  EXPECT_EQ(cache->find(5 * kPage)->target, 100 * kPage);
}

TEST(TranslationCache, TheOldestGoesWhenItIsFull) {
  const auto cache = std::make_unique<TranslationCache>();
  for (std::uint64_t number = 0; number <= TranslationCache::kMaxTranslations; ++number)
    cache->insert(page(2 * number, number));
  EXPECT_EQ(cache->size(), TranslationCache::kMaxTranslations);
  EXPECT_EQ(cache->find(0), nullptr);
  EXPECT_NE(cache->find(2 * kPage), nullptr);
  EXPECT_NE(cache->find(2 * TranslationCache::kMaxTranslations * kPage), nullptr);
}

// Against a map that never forgets: what is found is what was given last, and what was dropped is not found.
TEST(TranslationCache, NeverKnowsWhatIsNotSo) {
  const auto cache = std::make_unique<TranslationCache>();
  std::map<std::uint64_t, std::uint64_t> truth;
  base::Random random(7);
  std::uint64_t found = 0;
  for (int round = 0; round < 200'000; ++round) {
    const std::uint64_t number = random.below(3000);
    const std::uint64_t block = std::uint64_t{1} << random.below(4);
    const std::uint64_t first = number & ~(block - 1);
    switch (random.below(3)) {
      case 0:
        cache->insert(
            {.start = first * kPage, .bytes = block * kPage, .target = (first + 8 * random.below(9)) * kPage});
        for (std::uint64_t at = first; at < first + block; ++at)
          truth[at] = cache->find(at * kPage)->target / kPage + (at - first);
        break;
      case 1:
        if (random.below(8) != 0) break;
        cache->drop({first * kPage, (first + block) * kPage});
        for (std::uint64_t at = first; at < first + block; ++at) truth.erase(at);
        break;
      default:
        if (const Translation* known = cache->find(number * kPage)) {
          ++found;
          ASSERT_TRUE(truth.contains(number));
          ASSERT_EQ(truth[number], (known->target + number * kPage - known->start) / kPage);
        }
    }
  }
  EXPECT_GT(found, 1000u);
}

}  // namespace
}  // namespace barter::fabric
