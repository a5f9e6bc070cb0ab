// A peer of `probe.capnp` written with Cap'n Proto's own C++ RPC, and nothing of capenv.
//
//   probe_peer serve PATH            serve a Probe to everybody who connects to a Unix socket
//   probe_peer play PATH [SCENARIO]  play one scenario with the Probe that is served there, or all
//   probe_peer scenarios             print their names

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/vector.h>

#include <initializer_list>
#include <iostream>
#include <string>
#include <vector>

#include "probe.capnp.h"

using capnp::rpc::twoparty::Side;

namespace {

using Texts = std::vector<std::string>;

constexpr auto WRITE_TIME = 2 * kj::MILLISECONDS;
constexpr auto PATIENCE = 30 * kj::SECONDS;
constexpr size_t LARGE = 30 << 20;

std::string string(capnp::Text::Reader text) { return std::string(text.begin(), text.end()); }

kj::Exception exception(kj::Exception::Type type, kj::StringPtr reason) {
  return kj::Exception(type, __FILE__, __LINE__, kj::str(reason));
}

[[noreturn]] void fail(kj::StringPtr reason,
                       kj::Exception::Type type = kj::Exception::Type::FAILED) {
  kj::throwFatalException(exception(type, reason));
}

// The order is that of `Exception.Type` in rpc.capnp.
const kj::Exception::Type KINDS[] = {
    kj::Exception::Type::FAILED,
    kj::Exception::Type::OVERLOADED,
    kj::Exception::Type::DISCONNECTED,
    kj::Exception::Type::UNIMPLEMENTED,
};

capnp::ReaderOptions readerOptions() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 32 << 20;  // room for several large messages
  return options;
}

// ---------------------------------------------------------------------------------- the servant

// What all objects of the process share.
struct World {
  kj::Timer& timer;
  uint hanging = 0;
  uint released = 0;
};

// Has every method but `missing`, which Cap'n Proto itself answers as unimplemented.
class ProbeServer : public Probe::Server {
 public:
  ProbeServer(World& world, std::string name) : world(world), label(std::move(name)) {}

  Texts log;

 protected:
  kj::Promise<void> echo(EchoContext context) override {
    auto text = context.getParams().getText();
    log.push_back(string(text));
    context.getResults().setText(text);
    return kj::READY_NOW;
  }

  kj::Promise<void> slow(SlowContext context) override {
    log.push_back(string(context.getParams().getText()));
    return world.timer.afterDelay(1 * kj::MILLISECONDS).then([context]() mutable {
      context.getResults().setText(context.getParams().getText());
    });
  }

  kj::Promise<void> name(NameContext context) override {
    context.getResults().setName(label);
    return kj::READY_NOW;
  }

  kj::Promise<void> child(ChildContext context) override;

  kj::Promise<void> callBack(CallBackContext context) override {
    auto request = context.getParams().getTarget().echoRequest();
    request.setText(context.getParams().getText());
    return request.send().then([context](auto&& response) mutable {
      context.getResults().setText(response.getText());
    });
  }

  kj::Promise<void> keep(KeepContext context) override {
    held = context.getParams().getProbe();
    return kj::READY_NOW;
  }

  kj::Promise<void> kept(KeptContext context) override {
    KJ_IF_MAYBE (probe, held) {
      context.getResults().setProbe(*probe);
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> drop(DropContext) override {
    held = nullptr;
    return kj::READY_NOW;
  }

  kj::Promise<void> fail(FailContext context) override {
    return exception(kj::Exception::Type::FAILED, context.getParams().getReason());
  }

  kj::Promise<void> hang(HangContext context) override {
    context.allowCancellation();  // without this, 0.9 lets a canceled call run on
    ++world.hanging;
    auto& hanging = world.hanging;
    return kj::Promise<void>(kj::NEVER_DONE).attach(kj::defer([&hanging] { --hanging; }));
  }

  kj::Promise<void> counts(CountsContext context) override {
    auto results = context.getResults();
    results.setHanging(world.hanging);
    results.setReleased(world.released);
    return kj::READY_NOW;
  }

  kj::Promise<void> data(DataContext context) override {
    context.getResults().setData(context.getParams().getData());
    return kj::READY_NOW;
  }

  kj::Promise<void> same(SameContext context) override {
    context.getResults().setProbe(context.getParams().getProbe());
    return kj::READY_NOW;
  }

  kj::Promise<void> later(LaterContext context) override {
    auto promise = kj::newPromiseAndFulfiller<Probe::Client>();
    context.getResults().setProbe(Probe::Client(kj::mv(promise.promise)));
    pending.add(Pending{kj::mv(promise.fulfiller), context.getParams().getProbe()});
    return kj::READY_NOW;
  }

  kj::Promise<void> settle(SettleContext) override {
    for (auto& each : pending) each.fulfiller->fulfill(kj::mv(each.probe));
    pending.clear();
    return kj::READY_NOW;
  }

  kj::Promise<void> breakAll(BreakAllContext context) override {
    for (auto& each : pending) {
      each.fulfiller->reject(
          exception(kj::Exception::Type::FAILED, context.getParams().getReason()));
    }
    pending.clear();
    return kj::READY_NOW;
  }

  kj::Promise<void> tail(TailContext context) override {
    auto request = context.getParams().getTarget().echoRequest();
    request.setText(context.getParams().getText());
    // A tail call wants a request whose results have our own results' type. `echo` and `tail` have
    // the same results under two names, so the request changes its name.
    Probe::EchoParams::Builder params = request;
    return context.tailCall(capnp::Request<Probe::EchoParams, Probe::TailResults>(
        params, capnp::RequestHook::from(kj::mv(request))));
  }

  kj::Promise<void> seen(SeenContext context) override {
    auto texts = context.getResults().initTexts(log.size());
    for (size_t i = 0; i < log.size(); ++i) texts.set(i, log[i]);
    return kj::READY_NOW;
  }

  kj::Promise<void> failAs(FailAsContext context) override {
    auto params = context.getParams();
    KJ_REQUIRE(params.getKind() < kj::size(KINDS), "no such kind");
    return exception(KINDS[params.getKind()], params.getReason());
  }

  kj::Promise<void> write(WriteContext context) override {
    // Cap'n Proto starts no other call of this object before this one has ended: it is a stream.
    log.push_back(string(context.getParams().getText()));
    bool bad = log.back() == "bad";
    return world.timer.afterDelay(WRITE_TIME).then([bad] {
      if (bad) ::fail("a bad text was written");
    });
  }

 private:
  struct Pending {
    kj::Own<kj::PromiseFulfiller<Probe::Client>> fulfiller;
    Probe::Client probe;
  };

  World& world;
  std::string label;
  kj::Maybe<Probe::Client> held;
  kj::Vector<Pending> pending;
};

// What `child` makes: its end is counted.
class ChildServer final : public ProbeServer {
 public:
  ChildServer(World& world, std::string name) : ProbeServer(world, std::move(name)), world(world) {}
  ~ChildServer() noexcept(false) { ++world.released; }

 private:
  World& world;
};

kj::Promise<void> ProbeServer::child(ChildContext context) {
  context.getResults().setChild(
      kj::heap<ChildServer>(world, string(context.getParams().getName())));
  return kj::READY_NOW;
}

// ----------------------------------------------------------------------------------- the server

// One caller, who has a Probe of their own. Destroyed from the last field to the first.
struct Served {
  kj::Own<kj::AsyncIoStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;

  Served(kj::Own<kj::AsyncIoStream> accepted, World& world)
      : stream(kj::mv(accepted)),
        network(*stream, Side::SERVER, readerOptions()),
        rpc(capnp::makeRpcServer(network, Probe::Client(kj::heap<ProbeServer>(world, "first")))) {}
};

class Server final : private kj::TaskSet::ErrorHandler {
 public:
  explicit Server(World& world) : world(world), callers(*this) {}

  kj::Promise<void> listen(kj::ConnectionReceiver& listener) {
    return listener.accept().then([this, &listener](kj::Own<kj::AsyncIoStream>&& stream) {
      auto served = kj::heap<Served>(kj::mv(stream), world);
      auto gone = served->network.onDisconnect();
      callers.add(gone.attach(kj::mv(served)));
      return listen(listener);
    });
  }

 private:
  void taskFailed(kj::Exception&& error) override {
    std::cerr << "a connection failed: " << kj::str(error).cStr() << std::endl;
  }

  World& world;
  kj::TaskSet callers;
};

void serve(kj::AsyncIoContext& io, kj::StringPtr address) {
  World world{io.provider->getTimer()};
  auto listener =
      io.provider->getNetwork().parseAddress(address).wait(io.waitScope)->listen();
  std::cout << "ready" << std::endl;
  Server(world).listen(*listener).wait(io.waitScope);
}

// ----------------------------------------------------------------------------------- the client

void check(bool right, kj::StringPtr what) {
  if (!right) fail(what);
}

void checkTexts(const Texts& seen, const Texts& expected) {
  if (seen == expected) return;
  auto some = [](const Texts& texts) {
    std::string joined;
    for (auto& text : texts) joined += " " + text.substr(0, 8);
    return joined;
  };
  fail(kj::str("seen were", some(seen).c_str(), ", not", some(expected).c_str()));
}

Texts numbers(uint count) {
  Texts texts;
  for (uint i = 0; i < count; ++i) texts.push_back(std::to_string(i));
  return texts;
}

// The scenarios, each a method. One Player, which has a connection of its own, plays one of them.
class Player {
 public:
  Player(kj::AsyncIoContext& io, kj::StringPtr address)
      : waitScope(io.waitScope),
        timer(io.provider->getTimer()),
        world{timer},
        stream(wait(wait(io.provider->getNetwork().parseAddress(address))->connect())),
        network(*stream, Side::CLIENT, readerOptions()),
        rpc(capnp::makeRpcClient(network)),
        root(bootstrap()) {}

  void echoes() { check(wait(echo(root, "hello")) == "hello", "another text came back"); }

  void names() { check(nameOf(root) == "first", "the bootstrap has another name"); }

  void pipelines() {
    auto second = child(root, "second");
    auto third = child(second, "third");  // `second` is not there yet, nor is this
    auto name = third.nameRequest().send();
    check(wait(kj::mv(name)).getName() == "third", "another child answered");
    check(nameOf(second) == "second", "another child answered");
  }

  void callsBack() {
    auto own = makeOwn("mine");
    check(callBack(own.client, "back") == "back", "another text came back");
    checkTexts(own.server.log, {"back"});
  }

  // A param that is a capability of an answer that has not come (receiverAnswer).
  void callsBackAnAnswer() {
    auto second = child(root, "second");
    check(callBack(second, "on") == "on", "another text came back");
    checkTexts(seen(second), {"on"});
  }

  // A param that is a promise of ours (senderPromise), resolved once the peer has called it.
  void callsBackAPromise() {
    auto own = makeOwn("mine");
    auto promise = kj::newPromiseAndFulfiller<Probe::Client>();
    auto request = root.callBackRequest();
    request.setTarget(Probe::Client(kj::mv(promise.promise)));
    request.setText("back");
    auto answer = request.send();
    wait(echo(root, "the peer's call is on its way"));
    promise.fulfiller->fulfill(kj::cp(own.client));
    check(wait(kj::mv(answer)).getText() == "back", "another text came back");
    checkTexts(own.server.log, {"back"});
  }

  void keeps() {
    auto own = makeOwn("mine");
    auto keep = root.keepRequest();
    keep.setProbe(own.client);
    wait(keep.send());
    Probe::Client kept = wait(root.keptRequest().send()).getProbe();
    checkOwn(kept, own.server);
    check(nameOf(kept) == "mine", "what was kept has another name");
    wait(root.dropRequest().send());
  }

  // Calls on what `same` will return go to the peer and are sent back; calls on what it has
  // returned are local, and wait (an embargo) until the former are here.
  void sameIsInOrder() {
    auto own = makeOwn("mine");
    auto request = root.sameRequest();
    request.setProbe(own.client);
    auto answer = request.send();
    Probe::Client same = answer.getProbe();
    Calls calls(*this, same);
    calls.make(10);
    calls.makeWhile(answer.ignoreResult());
    wait(same.whenResolved());
    calls.make(10);
    calls.finish();
    checkTexts(own.server.log, numbers(calls.count));
    checkOwn(same, own.server);
  }

  // The same by a promise, which is resolved long after it has returned.
  void laterIsInOrder() {
    auto own = makeOwn("mine");
    Probe::Client promised = later(own.client);
    Calls calls(*this, promised);
    calls.make(10);
    calls.makeWhile(root.settleRequest().send().ignoreResult());
    calls.makeWhile(promised.whenResolved());
    calls.make(10);
    calls.finish();
    checkTexts(own.server.log, numbers(calls.count));
    checkOwn(promised, own.server);
  }

  // A promise of which nothing was asked before it is resolved.
  void laterIsOurs() {
    auto own = makeOwn("mine");
    Probe::Client promised = later(own.client);
    wait(root.settleRequest().send());
    wait(promised.whenResolved());
    check(nameOf(promised) == "mine", "the promise became another object");
    checkOwn(promised, own.server);
  }

  void laterIsTheirs() {
    auto theirs = child(root, "kid");
    Probe::Client promised = later(theirs);
    Calls calls(*this, promised);
    calls.make(10);
    calls.makeWhile(root.settleRequest().send().ignoreResult());
    calls.makeWhile(promised.whenResolved());
    calls.make(10);
    calls.finish();
    checkTexts(seen(theirs), numbers(calls.count));
    check(nameOf(promised) == "kid", "the promise became another object");
  }

  void promisesBreak() {
    auto own = makeOwn("mine");
    Probe::Client promised = later(own.client);
    auto before = echo(promised, "before");
    auto request = root.breakAllRequest();
    request.setReason("broken on purpose");
    wait(request.send());
    checkFailure(kj::mv(before), kj::Exception::Type::FAILED, "broken on purpose");
    checkFailure(promised.whenResolved(), kj::Exception::Type::FAILED, "broken on purpose");
    checkFailure(echo(promised, "after"), kj::Exception::Type::FAILED, "broken on purpose");
    check(own.server.log.empty(), "a call came nevertheless");
    echoes();
  }

  // The peer calls back, and tells us that our own answer is the answer.
  void tailsToOurs() {
    auto own = makeOwn("mine");
    check(tail(own.client, "to us") == "to us", "another text came back");
    checkTexts(own.server.log, {"to us"});
  }

  void tailsToTheirs() {
    auto theirs = child(root, "kid");
    check(tail(theirs, "to them") == "to them", "another text came back");
    checkTexts(seen(theirs), {"to them"});
  }

  void tailsFail() {
    auto own = makeOwn("mine");
    Probe::Client promised = later(own.client);
    auto request = root.tailRequest();
    request.setTarget(promised);
    auto answer = request.send();
    auto breaking = root.breakAllRequest();
    breaking.setReason("broken on purpose");
    wait(breaking.send());
    checkFailure(kj::mv(answer), kj::Exception::Type::FAILED, "broken on purpose");
    echoes();
  }

  void cancels() {
    {
      auto hang = root.hangRequest().send();
      until([this] { return counts().getHanging() == 1; }, "the call has not begun to hang");
    }
    until([this] { return counts().getHanging() == 0; }, "the canceled call hangs still");
  }

  void failsAs() {
    for (uint kind = 0; kind < kj::size(KINDS); ++kind) {
      auto request = root.failAsRequest();
      auto reason = kj::str("reason ", kind);
      request.setKind(kind);
      request.setReason(reason);
      checkFailure(request.send(), KINDS[kind], reason);
    }
    auto request = root.failRequest();
    request.setReason("it fell over");
    checkFailure(request.send(), kj::Exception::Type::FAILED, "it fell over");
    echoes();
  }

  void misses() {
    checkFailure(root.missingRequest().send(), kj::Exception::Type::UNIMPLEMENTED, "");
    echoes();
  }

  void streams() {
    Texts expected;
    for (uint i = 0; i < 200; ++i) {
      // In all more than the window has room for, so that some writes wait for others.
      expected.push_back(std::to_string(i) + " " + std::string(2000, '.'));
      wait(write(expected.back()));
    }
    checkTexts(seen(root), expected);
  }

  // No write is sure to be told of its own failure. One that is made after the failure came is.
  void streamsBreak() {
    wait(write("good"));
    wait(write("bad"));
    bool told = false;
    auto tell = [&told](kj::Exception&& error) {
      auto reason = kj::str(error.getDescription());
      check(std::string(reason.cStr()).find("bad text") != std::string::npos, reason);
      told = true;
    };
    for (uint i = 0; i < 100 && !told; ++i) {
      wait(timer.afterDelay(WRITE_TIME).then([this] { return write("more"); }).catch_(tell));
    }
    if (!told) wait(root.seenRequest().send().ignoreResult().catch_(tell));
    check(told, "neither a later write nor the end of the stream failed");
  }

  void sendsMuch() {
    auto request = root.dataRequest();
    auto data = request.initData(LARGE);
    for (size_t i = 0; i < LARGE; ++i) data[i] = i * 2654435761u >> 24;
    auto expected = kj::heapArray<kj::byte>(data);
    auto response = wait(request.send());
    check(response.getData() == expected.asPtr(), "other data came back");
  }

  void releases() {
    auto before = counts().getReleased();
    {
      auto kid = child(root, "kid");
      check(nameOf(kid) == "kid", "another child answered");
    }
    until([&] { return counts().getReleased() == before + 1; }, "the child was not released");
  }

  // Prints that it hangs, for the peer to cut the connection.
  void isCutOff() {
    auto hang = root.hangRequest().send();
    until([this] { return counts().getHanging() == 1; }, "the call has not begun to hang");
    std::cout << "hanging" << std::endl;
    checkFailure(kj::mv(hang), kj::Exception::Type::DISCONNECTED, "");
    checkFailure(echo(root, "hello"), kj::Exception::Type::DISCONNECTED, "");
  }

 private:
  // An object of this side, and a reference to it.
  struct Own {
    ProbeServer& server;
    Probe::Client client;
  };

  // Calls of `echo` with the texts "0", "1" and so on; each is made without waiting for another.
  struct Calls {
    Calls(Player& player, Probe::Client target) : player(player), target(target) {}

    void make(uint more) {
      for (uint i = 0; i < more; ++i) answers.add(player.echo(target, kj::str(count++)));
    }

    // Makes calls until this is done, and lets messages come and go between them.
    void makeWhile(kj::Promise<void> promise) {
      bool done = false;
      auto waiting = promise.then([&done] { done = true; }).eagerlyEvaluate(nullptr);
      auto end = player.timer.now() + PATIENCE;
      while (!done) {
        check(player.timer.now() < end, "what calls were made meanwhile did not come");
        make(1);
        player.wait(player.timer.afterDelay(20 * kj::MICROSECONDS));
      }
      player.wait(kj::mv(waiting));
    }

    void finish() {
      for (uint i = 0; i < count; ++i) {
        check(player.wait(kj::mv(answers[i])) == std::to_string(i), "another text came back");
      }
    }

    Player& player;
    Probe::Client target;
    kj::Vector<kj::Promise<std::string>> answers;
    uint count = 0;
  };

  template <typename T>
  T wait(kj::Promise<T>&& promise) {
    return timer.timeoutAfter(PATIENCE, kj::mv(promise)).wait(waitScope);
  }

  Probe::Client bootstrap() {
    capnp::MallocMessageBuilder message;
    auto id = message.initRoot<capnp::rpc::twoparty::VatId>();
    id.setSide(Side::SERVER);
    return rpc.bootstrap(id).castAs<Probe>();
  }

  Own makeOwn(std::string name) {
    auto server = kj::heap<ProbeServer>(world, std::move(name));
    auto& reference = *server;
    return Own{reference, ours.add(kj::mv(server))};
  }

  // That a call on this does not go to the peer.
  void checkOwn(Probe::Client probe, ProbeServer& expected) {
    KJ_IF_MAYBE (server, wait(ours.getLocalServer(probe))) {
      check(server == &expected, "another object of ours came back");
    } else {
      fail("what came back is not known as our own");
    }
  }

  template <typename T>
  void checkFailure(kj::Promise<T>&& promise, kj::Exception::Type type, kj::StringPtr reason) {
    KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] { wait(kj::mv(promise)); })) {
      check(error->getType() == type, kj::str("the failure is of another kind: ", *error));
      std::string told = error->getDescription().cStr();
      check(told.find(reason.cStr()) != std::string::npos,
            kj::str("the failure has another reason: ", told.c_str()));
    } else {
      fail("the call did not fail");
    }
  }

  template <typename Test>
  void until(Test&& test, kj::StringPtr otherwise) {
    auto end = timer.now() + PATIENCE;
    while (!test()) {
      check(timer.now() < end, otherwise);
      wait(timer.afterDelay(1 * kj::MILLISECONDS));
    }
  }

  kj::Promise<std::string> echo(Probe::Client target, kj::StringPtr text) {
    auto request = target.echoRequest();
    request.setText(text);
    return request.send().then([](auto&& response) { return string(response.getText()); });
  }

  std::string nameOf(Probe::Client target) {
    return string(wait(target.nameRequest().send()).getName());
  }

  Probe::Client child(Probe::Client parent, kj::StringPtr name) {
    auto request = parent.childRequest();
    request.setName(name);
    return request.send().getChild();
  }

  std::string callBack(Probe::Client target, kj::StringPtr text) {
    auto request = root.callBackRequest();
    request.setTarget(target);
    request.setText(text);
    return string(wait(request.send()).getText());
  }

  Probe::Client later(Probe::Client probe) {
    auto request = root.laterRequest();
    request.setProbe(probe);
    return wait(request.send()).getProbe();
  }

  std::string tail(Probe::Client target, kj::StringPtr text) {
    auto request = root.tailRequest();
    request.setTarget(target);
    request.setText(text);
    return string(wait(request.send()).getText());
  }

  kj::Promise<void> write(const std::string& text) {
    auto request = root.writeRequest();
    request.setText(text);
    return request.send();
  }

  Texts seen(Probe::Client target) {
    auto response = wait(target.seenRequest().send());
    Texts texts;
    for (auto text : response.getTexts()) texts.push_back(string(text));
    return texts;
  }

  capnp::Response<Probe::CountsResults> counts() { return wait(root.countsRequest().send()); }

  kj::WaitScope& waitScope;
  kj::Timer& timer;
  World world;
  capnp::CapabilityServerSet<Probe> ours;
  kj::Own<kj::AsyncIoStream> stream;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpc;
  Probe::Client root;
};

struct Scenario {
  const char* name;
  void (Player::*play)();
  bool needsHelp = false;  // of whoever runs the peer, so it is played only by name
};

const Scenario SCENARIOS[] = {
    {"echo", &Player::echoes},
    {"name", &Player::names},
    {"pipelines", &Player::pipelines},
    {"call-back", &Player::callsBack},
    {"call-back-answer", &Player::callsBackAnAnswer},
    {"call-back-promise", &Player::callsBackAPromise},
    {"keep", &Player::keeps},
    {"same-in-order", &Player::sameIsInOrder},
    {"later-in-order", &Player::laterIsInOrder},
    {"later-ours", &Player::laterIsOurs},
    {"later-theirs", &Player::laterIsTheirs},
    {"break-all", &Player::promisesBreak},
    {"tail-ours", &Player::tailsToOurs},
    {"tail-theirs", &Player::tailsToTheirs},
    {"tail-fails", &Player::tailsFail},
    {"cancel", &Player::cancels},
    {"fail-as", &Player::failsAs},
    {"missing", &Player::misses},
    {"stream", &Player::streams},
    {"stream-breaks", &Player::streamsBreak},
    {"much-data", &Player::sendsMuch},
    {"release", &Player::releases},
    {"cut-off", &Player::isCutOff, true},
};

// Plays the scenario of that name, or all. Returns whether there was one and none failed.
bool play(kj::AsyncIoContext& io, kj::StringPtr address, kj::StringPtr only) {
  bool played = false, good = true;
  for (auto& scenario : SCENARIOS) {
    if (only == "" ? scenario.needsHelp : only != scenario.name) continue;
    played = true;
    KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] {
                   Player player(io, address);
                   (player.*scenario.play)();
                 })) {
      std::cout << "FAILED " << scenario.name << ": " << error->getDescription().cStr()
                << std::endl;
      good = false;
    } else {
      std::cout << "ok " << scenario.name << std::endl;
    }
  }
  if (!played) std::cerr << "no scenario is called " << only.cStr() << std::endl;
  return played && good;
}

}  // namespace

int main(int argc, char* argv[]) {
  kj::StringPtr what = argc > 1 ? argv[1] : "";
  if (what == "scenarios") {
    for (auto& scenario : SCENARIOS) std::cout << scenario.name << std::endl;
    return 0;
  }
  if (argc < 3 || (what != "serve" && what != "play")) {
    std::cerr << "usage: probe_peer serve PATH | play PATH [SCENARIO] | scenarios" << std::endl;
    return 2;
  }
  auto io = kj::setupAsyncIo();
  auto address = kj::str("unix:", argv[2]);
  if (what == "play") return play(io, address, argc > 3 ? argv[3] : "") ? 0 : 1;
  serve(io, address);
}
