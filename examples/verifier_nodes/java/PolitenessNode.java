// A verifier node in Java, made from the stubs that protoc generates out of `protos/`.
//
// It scores how polite the answer is: the share of courteous words that the node's settings ask for
// and that the answer has. Settings: `words`, a list; default "please" and "thank".

import burnish.api.types.v1.Rollout.Failure;
import burnish.api.types.v1.Rollout.Reward;
import burnish.api.verifier.v1.VerifierNodeServiceGrpc;
import burnish.api.verifier.v1.VerifierNodeServiceOuterClass.EvaluateNodeRequest;
import burnish.api.verifier.v1.VerifierNodeServiceOuterClass.EvaluateNodeResponse;
import com.google.protobuf.Value;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Serves one node; prints its address when it does. */
public final class PolitenessNode extends VerifierNodeServiceGrpc.VerifierNodeServiceImplBase {
  @Override
  public void evaluateNode(
      EvaluateNodeRequest request, StreamObserver<EvaluateNodeResponse> answer) {
    answer.onNext(evaluate(request));
    answer.onCompleted();
  }

  private static EvaluateNodeResponse evaluate(EvaluateNodeRequest request) {
    if (request.getRollout().getOutput().isEmpty()) {
      // A rollout that cannot be judged is left without a reward. It is never scored 0.
      Failure failure =
          Failure.newBuilder()
              .setReason("OUTPUT_MISSING")
              .setMessage("the rollout has no output; let the task app return one")
              .build();
      return EvaluateNodeResponse.newBuilder().setFailure(failure).build();
    }
    String text = request.getRollout().getOutput().toStringUtf8().toLowerCase(Locale.ROOT);
    List<String> words = words(request);
    List<String> missing = new ArrayList<>(words);
    missing.removeIf(text::contains);
    Reward.Builder reward = Reward.newBuilder();
    for (String word : words) {
      reward.putCriteria(word, missing.contains(word) ? 0.0 : 1.0);
    }
    reward.setFused((words.size() - missing.size()) / (double) words.size());
    if (!missing.isEmpty()) {
      reward.setFeedback("does not say " + String.join(", ", missing));
    }
    return EvaluateNodeResponse.newBuilder().setReward(reward).build();
  }

  private static List<String> words(EvaluateNodeRequest request) {
    Value listed = request.getNode().getRemote().getSettings().getFieldsMap().get("words");
    List<String> words = new ArrayList<>();
    if (listed != null) {
      for (Value word : listed.getListValue().getValuesList()) {
        words.add(word.getStringValue().toLowerCase(Locale.ROOT));
      }
    }
    return words.isEmpty() ? List.of("please", "thank") : words;
  }

  /** Serves on 127.0.0.1, on the port that is given, 0 for a free one. */
  public static void main(String[] arguments) throws Exception {
    int port = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 0;
    Server server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", port))
            .addService(new PolitenessNode())
            .build()
            .start();
    System.out.println("127.0.0.1:" + server.getPort());
    server.awaitTermination();
  }
}
