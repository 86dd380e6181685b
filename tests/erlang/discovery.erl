%% A node that finds its peers as libcluster's Kubernetes.DNSSRV does: at each interval it asks for the SRV records of
%% the headless Service, connects to the targets that are new and disconnects from those that are gone. It takes an
%% error for an empty list, which is why a DNS server's hiccup costs a whole cluster.
%%
%% Each line that it prints begins with the time in milliseconds:
%%
%%     TIME targets NODES       what it is told, at first and when that changed; NODES are split by commas, or "-"
%%     TIME connected NODES     whom it is connected to, at first and when that changed
%%     TIME look MILLISECONDS   the end of a look, and how long the answer took
%%     TIME error REASON        why it is told nothing
%%     TIME leaves NODE         it disconnects from a node that it is no longer told of
%%     TIME up NODE             a connection was made,
%%     TIME down NODE           or lost
-module(discovery).
-export([run/1, wait/1, ask/1]).

%% How is `lookup`, which asks each time, or `getbyname`, which is libcluster's and asks when the TTL has passed.
run([How, Name, Interval]) ->
    ok = net_kernel:monitor_nodes(true),
    look({list_to_atom(How), Name, list_to_integer(Interval)}, [], {none, none}).

%% Looks for nobody: whoever is connected has found this node.
wait([Interval]) ->
    ok = net_kernel:monitor_nodes(true),
    wait_on(list_to_integer(Interval), {none, none}).

%% Asks once in both ways, and ends.
ask([Name]) ->
    report(lookup, Name),
    report(getbyname, Name),
    halt(0, [{flush, true}]).

report(How, Name) ->
    {Micros, Targets} = timer:tc(fun() -> targets(How, Name) end),
    say("~s ~b ~s", [How, Micros div 1000, listed(Targets)]).

look({How, Name, Interval} = Task, Known, Said) ->
    {Micros, Hosts} = timer:tc(fun() -> targets(How, Name) end),
    Targets = [list_to_atom("beam@" ++ Host) || Host <- Hosts],
    [leave(Node) || Node <- Known -- Targets, lists:member(Node, nodes())],
    New = [Node || Node <- (Targets -- Known) -- nodes(), Node =/= node()],
    Failed = [Node || Node <- New, net_kernel:connect_node(Node) =/= true],
    Now = say_state(Targets, Said),
    say("look ~b", [Micros div 1000]),
    pause(Interval),
    look(Task, Targets -- Failed, Now).

leave(Node) ->
    say("leaves ~s", [Node]),
    erlang:disconnect_node(Node).

wait_on(Interval, Said) ->
    Now = say_state([], Said),
    say("look 0", []),
    pause(Interval),
    wait_on(Interval, Now).

targets(How, Name) ->
    case answer(How, Name) of
        {ok, Records} ->
            [Target || {_Priority, _Weight, _Port, Target} <- Records];
        {error, Reason} ->
            say("error ~0p", [Reason]),
            []
    end.

%% What inet_res:lookup/3 does, but for the error, which it hides.
answer(lookup, Name) ->
    case inet_res:resolve(Name, in, srv) of
        {ok, Message} -> {ok, [inet_dns:rr(Record, data) || Record <- inet_dns:msg(Message, anlist)]};
        Error -> Error
    end;
%% By the name as it stands: the final dot keeps the search path out.
answer(getbyname, Name) ->
    case inet_res:getbyname(Name ++ ".", srv) of
        {ok, {hostent, _Name, _Aliases, srv, _Length, Records}} -> {ok, Records};
        Error -> Error
    end.

pause(Interval) ->
    erlang:send_after(Interval, self(), look),
    until_look().

until_look() ->
    receive
        look -> ok;
        {nodeup, Node} -> say("up ~s", [Node]), until_look();
        {nodedown, Node} -> say("down ~s", [Node]), until_look()
    end.

%% Says what is not as it was said; gives what is.
say_state(Targets, {SaidTargets, SaidConnected}) ->
    {Sorted, Connected} = {lists:sort(Targets), lists:sort(nodes())},
    Sorted =:= SaidTargets orelse say("targets ~s", [listed(Sorted)]),
    Connected =:= SaidConnected orelse say("connected ~s", [listed(Connected)]),
    {Sorted, Connected}.

listed([]) -> "-";
listed(Names) -> lists:join(",", [io_lib:format("~s", [Name]) || Name <- lists:sort(Names)]).

say(Format, Arguments) ->
    io:format("~b " ++ Format ++ "~n", [erlang:system_time(millisecond) | Arguments]).
