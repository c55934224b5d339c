// What CAF promises and ThreadSanitizer cannot see, since a distribution's CAF is not instrumented:
// a message happens after its sending, a turn of an actor after the turn before. Told to the
// sanitizer here, so that it checks all the rest; nothing in other builds.
#pragma once

#ifdef __SANITIZE_THREAD__
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace dlls::runtime::detail {

#ifdef __SANITIZE_THREAD__
inline void hand_over(const void* what) noexcept { __tsan_release(const_cast<void*>(what)); }
inline void take_over(const void* what) noexcept { __tsan_acquire(const_cast<void*>(what)); }
#else
inline void hand_over(const void*) noexcept {}
inline void take_over(const void*) noexcept {}
#endif

// An actor's turn.
class handed_turn {
 public:
  explicit handed_turn(const void* actor) noexcept : actor_(actor) { take_over(actor_); }
  ~handed_turn() { hand_over(actor_); }
  handed_turn(const handed_turn&) = delete;
  handed_turn& operator=(const handed_turn&) = delete;

 private:
  const void* actor_;
};

}  // namespace dlls::runtime::detail
